/**
 * Which addresses a daemon may connect to. A user chooses the host of a network; without this guard it could
 * be an internal database. A name is resolved once, the addresses are checked, and the socket connects to one
 * of those. The address of the connected socket is checked once more before anything is sent.
 */
import { lookup } from "node:dns";
import { isIP, type LookupFunction, type Socket } from "node:net";
import ipaddr from "ipaddr.js";

/**
 * True for everything that is not global unicast: every range of the IANA registries of special-purpose
 * addresses (RFC 6890 and its successors), multicast, and forms that contain an IPv4 address (compatible,
 * NAT64, Teredo, 6to4). An IPv4 address mapped into IPv6 is treated as the IPv4 address. Text that is not an
 * address is special too.
 */
export function isSpecialAddress(address: string): boolean {
  if (isIP(address) === 0) return true;
  const parsed = ipaddr.process(address);
  if (parsed.range() !== "unicast") return true;
  // Only this eighth of IPv6 is allocated; the rest is reserved, or for uses not defined yet.
  return parsed instanceof ipaddr.IPv6 && !parsed.match(GLOBAL_UNICAST, 3);
}

const GLOBAL_UNICAST = ipaddr.IPv6.parse("2000::");

export class RefusedAddress extends Error {
  override readonly name = "RefusedAddress";
  readonly code = "REFUSED_ADDRESS";
}

type Resolve = typeof lookup;

/** Resolves a name, and fails with {@link RefusedAddress} when it leads to special addresses only. */
export const publicLookup: LookupFunction = publicLookupBy(lookup);

/** @param resolve as `dns.lookup` */
export function publicLookupBy(resolve: Resolve): LookupFunction {
  return (hostname, options, callback) => {
    resolve(hostname, { ...options, all: true }, (error, addresses) => {
      const found = error === null ? addresses.filter(({ address }) => !isSpecialAddress(address)) : [];
      const [first] = found;
      if (error !== null || first === undefined) {
        callback(error ?? new RefusedAddress("the name leads to a special address"), "", 0);
      } else if (options.all === true) {
        callback(null, found);
      } else {
        callback(null, first.address, first.family);
      }
    });
  };
}

/** How to connect to a public host: options for `net.connect` or `tls.connect`. @throws RefusedAddress for an address */
export function publicOnly(host: string): { readonly host: string; readonly lookup: LookupFunction } {
  if (isIP(host) !== 0 && isSpecialAddress(host)) throw new RefusedAddress("a special address");
  return { host, lookup: publicLookup };
}

/** The last check, when a socket is connected and before anything is written. @throws RefusedAddress */
export function requirePublicPeer({ remoteAddress }: Pick<Socket, "remoteAddress">): void {
  if (isSpecialAddress(remoteAddress ?? "")) throw new RefusedAddress("connected to a special address");
}

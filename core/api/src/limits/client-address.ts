/** The client of a request, as far as addresses identify it. */
import ipaddr from "ipaddr.js";

export interface Addressed {
  /** As reported by the trusted proxies; may be any text. */
  readonly ip: string;
  readonly socket: { readonly remoteAddress?: string | undefined };
}

/**
 * The key under which an address is counted. For IPv4 it is the address itself, also when it is mapped into
 * IPv6. For IPv6 it is the network of 64 bits, because the owner of one address has all of this network.
 */
export function clientOf({ ip, socket }: Addressed): string {
  return keyOf(ip) ?? keyOf(socket.remoteAddress ?? "") ?? "unknown";
}

function keyOf(text: string): string | undefined {
  if (!ipaddr.isValid(text)) return undefined;
  const address = ipaddr.process(text);
  if (address instanceof ipaddr.IPv4) return address.toString();
  const network = ipaddr.IPv6.networkAddressFromCIDR(`${address.toNormalizedString().split("%")[0]}/64`);
  return `${network.toString()}/64`;
}

/** @returns whether an address is in one of the ranges, each an address or a CIDR range */
export function inRanges(ranges: readonly string[]): (address: string | undefined) => boolean {
  const parsed = ranges.map((range) =>
    range.includes("/") ? ipaddr.parseCIDR(range) : wholeAddress(ipaddr.parse(range)),
  );
  return (text) => {
    if (text === undefined || !ipaddr.isValid(text)) return false;
    const address = ipaddr.process(text);
    return parsed.some(([base, bits]) => address.kind() === base.kind() && address.match(base, bits));
  };
}

function wholeAddress(address: ipaddr.IPv4 | ipaddr.IPv6): [ipaddr.IPv4 | ipaddr.IPv6, number] {
  return [address, address.kind() === "ipv4" ? 32 : 128];
}

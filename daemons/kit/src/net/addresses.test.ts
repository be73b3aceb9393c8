import { connect, createServer, type Server, type AddressInfo } from "node:net";
import ipaddr from "ipaddr.js";
import { expect, test } from "vitest";
import {
  isSpecialAddress,
  publicLookup,
  publicLookupBy,
  publicOnly,
  requirePublicPeer,
} from "./addresses.ts";

/**
 * The complete IANA registries of special-purpose addresses, IPv4 and IPv6, including those that are globally
 * reachable, because nobody runs a chat server there. Also multicast, reserved ranges and forms that the
 * registries do not list.
 */
const SPECIAL = [
  "0.0.0.0/8",
  "0.0.0.0/32",
  "10.0.0.0/8",
  "100.64.0.0/10",
  "127.0.0.0/8",
  "169.254.0.0/16",
  "172.16.0.0/12",
  "192.0.0.0/24",
  "192.0.0.0/29",
  "192.0.0.8/32",
  "192.0.0.9/32",
  "192.0.0.10/32",
  "192.0.0.170/32",
  "192.0.0.171/32",
  "192.0.2.0/24",
  "192.31.196.0/24",
  "192.52.193.0/24",
  "192.88.99.0/24",
  "192.168.0.0/16",
  "192.175.48.0/24",
  "198.18.0.0/15",
  "198.51.100.0/24",
  "203.0.113.0/24",
  "240.0.0.0/4",
  "255.255.255.255/32",
  "224.0.0.0/4",
  "::1/128",
  "::/128",
  "::/96",
  "64:ff9b::/96",
  "64:ff9b:1::/48",
  "100::/64",
  "100:0:0:1::/64",
  "2001::/23",
  "2001::/32",
  "2001:1::1/128",
  "2001:1::2/128",
  "2001:1::3/128",
  "2001:2::/48",
  "2001:3::/32",
  "2001:4:112::/48",
  "2001:10::/28",
  "2001:20::/28",
  "2001:30::/28",
  "2001:db8::/32",
  "2002::/16",
  "2620:4f:8000::/48",
  "3fff::/20",
  "5f00::/16",
  "fc00::/7",
  "fe80::/10",
  "fec0::/10",
  "ff00::/8",
  "::ffff:0:0:0/96",
  "4000::/3",
  "e000::/4",
] as const;

/** First, last and one within. */
function membersOf(range: string): string[] {
  const [base, bits] = ipaddr.parseCIDR(range);
  const bytes = base.toByteArray();
  const within = (host: number) =>
    ipaddr
      .fromByteArray(
        bytes.map((byte, at) => {
          const free = 0xff >> Math.min(8, Math.max(0, bits - at * 8));
          return (byte & ~free & 0xff) | (host & free);
        }),
      )
      .toNormalizedString();
  return [within(0x00), within(0xff), within(0x5a)];
}

test.each(SPECIAL)("nothing in %s is connected to", (range) => {
  const members = membersOf(range);
  expect(members.filter((address) => !isSpecialAddress(address))).toEqual([]);
});

test.each(SPECIAL.filter((range) => range.includes(".")))(
  "%s hidden in an IPv6 form is not connected to",
  (range) => {
    for (const address of membersOf(range)) {
      const [a = 0, b = 0, c = 0, d = 0] = address.split(".").map(Number);
      const high = ((a << 8) | b).toString(16);
      const low = ((c << 8) | d).toString(16);
      const forms = [
        `::ffff:${address}`,
        `::${address}`,
        `64:ff9b::${high}:${low}`,
        `64:ff9b:1::${high}:${low}`,
        `2002:${high}:${low}::1`,
        `2001:0:4136:e378:8000:63bf:${high}:${low}`,
        `::ffff:0:${high}:${low}`,
      ];
      expect(forms.filter((form) => !isSpecialAddress(form))).toEqual([]);
    }
  },
);

test.each(["", "not an address", "127.1", "2130706433", "0x7f000001", "fe80::1%eth0", "1.2.3.4.5"])(
  "%j is not taken for a public address",
  (text) => {
    expect(isSpecialAddress(text)).toBe(true);
  },
);

test.each([
  "1.1.1.1",
  "9.255.255.255",
  "11.0.0.0",
  "100.63.255.255",
  "172.32.0.1",
  "192.0.1.1",
  "192.169.0.1",
  "198.20.0.1",
  "223.255.255.255",
  "2606:4700::1111",
  "2001:4860:4860::8888",
  "2a01:4f8::1",
  "::ffff:1.1.1.1",
])("%s is public", (address) => {
  expect(isSpecialAddress(address)).toBe(false);
});

const refusedBy = (look: typeof publicLookup, name: string) =>
  new Promise((resolve) => look(name, { all: true }, (error, found) => resolve(error ?? found)));

test("a name that leads to loopback is refused, however it is written", async () => {
  for (const name of ["localhost", "127.1", "2130706433", "0x7f.1"]) {
    expect(await refusedBy(publicLookup, name), name).toBeInstanceOf(Error);
  }
  expect(await refusedBy(publicLookup, "localhost")).toMatchObject({ code: "REFUSED_ADDRESS" });
});

test("of a name's addresses only the public ones are connected to", async () => {
  const resolve = ((_name: string, _options: object, answer: (...args: unknown[]) => void) =>
    answer(null, [
      { address: "10.0.0.1", family: 4 },
      { address: "1.1.1.1", family: 4 },
      { address: "::ffff:7f00:1", family: 6 },
    ])) as never;
  expect(await refusedBy(publicLookupBy(resolve), "mixed.test")).toEqual([{ address: "1.1.1.1", family: 4 }]);
});

test("a name that changes between check and connection is caught when connected", async () => {
  const server: Server = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const { port } = server.address() as AddressInfo;
  // The check saw another address than the one that was connected to, as after DNS rebinding.
  const lookup = ((_name: string, _options: object, answer: (...args: unknown[]) => void) =>
    answer(null, [{ address: "127.0.0.1", family: 4 }])) as never;
  const socket = connect({ ...publicOnly("rebound.test"), port, lookup });
  await new Promise((resolve) => socket.once("connect", resolve));
  expect(() => requirePublicPeer(socket)).toThrow(/special address/);
  socket.destroy();
  server.close();
});

test("an address given as the host is checked without a look-up", () => {
  expect(() => publicOnly("::ffff:10.0.0.1")).toThrow(/special/);
  expect(publicOnly("irc.example.net").lookup).toBe(publicLookup);
});

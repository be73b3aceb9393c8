import { expect, test } from "vitest";
import { isPrivateAddress, publicLookup } from "./addresses.ts";

test.each([
  "127.0.0.1",
  "10.1.2.3",
  "172.16.0.1",
  "192.168.1.1",
  "169.254.169.254",
  "100.64.0.1",
  "0.0.0.0",
  "224.0.0.1",
  "::1",
  "::",
  "fe80::1",
  "fd00::1",
  "::ffff:127.0.0.1",
  "::ffff:10.0.0.1",
  "64:ff9b::a00:1",
  "2002:7f00:1::",
  "not an address",
  "",
])("%s is refused", (address) => {
  expect(isPrivateAddress(address)).toBe(true);
});

test.each(["1.1.1.1", "172.32.0.1", "192.169.0.1", "2606:4700::1111", "::ffff:1.1.1.1"])(
  "%s is public",
  (address) => {
    expect(isPrivateAddress(address)).toBe(false);
  },
);

test("a name that leads to loopback is refused", async () => {
  const outcome = await new Promise((resolve) => publicLookup("localhost", {}, (error) => resolve(error)));
  expect(outcome).toMatchObject({ code: "REFUSED_ADDRESS" });
});

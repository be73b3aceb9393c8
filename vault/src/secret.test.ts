import { format, inspect } from "node:util";
import { expect, test } from "vitest";
import { Secret } from "./secret.ts";

test("prints as [secret], however it is printed", () => {
  const secret = new Secret({ password: Buffer.from("canary-7f3a") });
  const forms = [
    String(secret),
    "".concat(secret as never),
    JSON.stringify({ secret }),
    inspect(secret, { showHidden: true, depth: 9 }),
    inspect({ deep: [secret] }, { depth: 9 }),
    format("%s %o %j", secret, secret, secret),
    inspect(Object.entries(secret)),
  ];
  for (const form of forms) {
    expect(form).not.toContain("canary");
    expect(form).not.toContain("99, 97"); // the same in decimal bytes
    expect(form).not.toContain("63 61 6e"); // and in hex
  }
  expect(forms.slice(0, 2)).toEqual(["[secret]", "[secret]"]);
});

test("disposing of it zeroes the very bytes that were given and handed out", () => {
  const given = Buffer.from("canary-7f3a");
  let seen: Uint8Array | undefined;
  {
    using secret = new Secret({ password: given });
    seen = secret.get("password");
    expect(secret.names).toEqual(["password"]);
    expect(seen).toBe(given);
  }
  expect(given.every((byte) => byte === 0)).toBe(true);
});

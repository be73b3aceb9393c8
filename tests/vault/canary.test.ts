import { inspect } from "node:util";
import { expect, test } from "vitest";
import { reveals } from "./canary.ts";

const SECRET = 'canary,"7f3a" ü';
const bytes = Buffer.from(SECRET);

test.each<[string, string | Buffer]>([
  ["as it is", `password is ${SECRET}!`],
  ["in JSON", JSON.stringify({ deep: [SECRET] })],
  ["percent-encoded", `?p=${encodeURIComponent(SECRET)}&x`],
  ["in hex, as PostgreSQL prints bytea", `\\x00${bytes.toString("hex")}`],
  ["in base64", Buffer.concat([Buffer.from("a"), bytes, Buffer.from("zz")]).toString("base64")],
  ["in base64url", Buffer.concat([Buffer.from("ab"), bytes, Buffer.from("z")]).toString("base64url")],
  ["as an inspected buffer", inspect(bytes)],
  ["as an inspected array", inspect(new Uint8Array(bytes), { breakLength: Number.POSITIVE_INFINITY })],
  ["as a serialised buffer", JSON.stringify(bytes)],
  [
    "as a serialised array",
    JSON.stringify({ deep: new Uint8Array(Buffer.concat([Buffer.from("x"), bytes])) }),
  ],
  ["in UTF-16", Buffer.from(SECRET, "utf16le")],
])("a secret is found %s", (_how, text) => {
  expect(reveals(text, SECRET)).toBe(true);
});

test("nothing is found where nothing is", () => {
  expect(reveals("[secret] canary 7f3b", SECRET)).toBe(false);
  expect(reveals(Buffer.alloc(4_096, 1), SECRET)).toBe(false);
});

/** The kind: a secret that is stored or shown because its name does not look like one, or because it is nested. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { FabricError, isFabricError } from "../errors/errors.ts";
import { takeLinkFields } from "./link-fields.ts";
import type { LinkDeclaration, LinkField } from "./declaration.ts";

const field = (name: string, syntax: LinkField["syntax"], more: Partial<LinkField> = {}): LinkField => ({
  name,
  label: name,
  required: false,
  secret: false,
  syntax,
  max_bytes: 100,
  ...more,
});
const secret = { secret: true } as const;

const FORM: LinkDeclaration = {
  name: "IRC",
  description: "",
  fields: [
    field("nick", "word"),
    field("port", "integer"),
    field("tls", "boolean"),
    field("tls.ca", "text"),
    field("channels", "list"),
    field("realname", "line"),
    field("sasl.account", "word"),
    field("sasl.password", "line", secret),
    field("pin", "word", secret),
    field("channel_key:*", "word", secret),
  ],
};

function refusal(fields: Readonly<Record<string, unknown>>): string {
  try {
    takeLinkFields(FORM, fields);
    return "taken";
  } catch (error) {
    if (!isFabricError(error)) throw error;
    expect(error.code).toBe("request.invalid");
    return error.message;
  }
}

test("settings and declared secrets part, nested ones too, whatever they are called", () => {
  const { settings, secrets } = takeLinkFields(FORM, {
    nick: "alice",
    port: "6697",
    tls: { ca: "-----BEGIN CERTIFICATE-----\n" },
    channels: ["#a", "#b"],
    realname: "Alice Adams",
    sasl: { account: "al", password: "correct horse" },
    pin: "1234",
    "channel_key:#k.d": "sesame",
  });
  expect(settings).toEqual({
    nick: "alice",
    port: "6697",
    tls: { ca: "-----BEGIN CERTIFICATE-----\n" },
    channels: ["#a", "#b"],
    realname: "Alice Adams",
    sasl: { account: "al" },
  });
  expect(Object.fromEntries(secrets)).toEqual({
    "sasl.password": "correct horse",
    pin: "1234",
    "channel_key:#k.d": "sesame",
  });
});

test("a form may spell members with dots; what is left empty is absent", () => {
  const { settings, secrets } = takeLinkFields(FORM, {
    "sasl.account": "al",
    "sasl.password": "x",
    nick: "",
  });
  expect(settings).toEqual({ sasl: { account: "al" } });
  expect([...secrets.keys()]).toEqual(["sasl.password"]);
});

describe("what was not declared is refused with its name, before anything else happens:", () => {
  test.each([
    [{ auth: { password: "hunter2" } }, '"auth.password" is not a field of IRC'],
    [{ passphrase: "hunter2" }, '"passphrase" is not a field of IRC'],
    [{ sasl: { pin: "hunter2" } }, '"sasl.pin" is not a field of IRC'],
    [{ sasl: "hunter2" }, '"sasl" is not a field of IRC'],
    [{ nick: { password: "hunter2" } }, '"nick.password" is not a field of IRC'],
    [{ "channel_key:": "hunter2" }, '"channel_key:" is not a field of IRC'],
    [{ "channel_key:#a\r\n": "hunter2" }, '"channel_key:#a\\r\\n" is not a field of IRC'],
    [JSON.parse('{"__proto__": {"password": "hunter2"}}'), '"__proto__.password" is not a field of IRC'],
    [{ constructor: "hunter2" }, '"constructor" is not a field of IRC'],
    [{ a: { b: { c: { d: { e: "hunter2" } } } } }, '"a.b.c.d" nests too deeply'],
  ])("%j", (fields: Record<string, unknown>, words) => {
    const said = refusal(fields);
    expect(said).toContain(words);
    expect(said).not.toContain("hunter2");
  });
});

describe("what the platform's syntax cannot hold is refused with the field's name, and not repeated:", () => {
  test.each([
    [{ sasl: { password: "hunter2\r\nQUIT" } }, '"sasl.password" must be one line'],
    [{ pin: "hunter 2" }, '"pin" must be text without blanks'],
    [{ pin: { deep: "hunter2" } }, '"pin.deep" is not a field'],
    [{ pin: 1234 }, '"pin" is not text'],
    [{ pin: null }, '"pin" is not text'],
    [{ "channel_key:#a": "hunter2\n" }, '"channel_key:#a" must be text without blanks'],
    [{ nick: "hunter2\u2028" }, '"nick" must be text without blanks'],
    [{ nick: "\ud800" }, '"nick" must be text without blanks'],
    [{ realname: "hunter2\0" }, '"realname" must be one line'],
    [{ tls: { ca: "hunter2\0" } }, '"tls.ca" must be text without NUL'],
    [{ nick: null }, '"nick" must be text'],
    [{ nick: 7 }, '"nick" must be text'],
    [{ port: "hunter2" }, '"port" must be a whole number'],
    [{ port: 1.5 }, '"port" must be a whole number'],
    [{ tls: "hunter2" }, '"tls" must be true or false'],
    [{ channels: ["#a\r\nhunter2"] }, '"channels" must be a list'],
    [{ channels: [{ password: "hunter2" }] }, '"channels" must be a list'],
    [{ nick: "x".repeat(101) }, '"nick" is longer than 100 bytes'],
    [{ channels: Array.from({ length: 40 }, () => "#chan") }, '"channels" is longer than 100 bytes'],
  ])("%j", (fields: Record<string, unknown>, words) => {
    const said = refusal(fields);
    expect(said).toContain(words);
    expect(said).not.toContain("hunter2");
  });

  test("too many fields, and too much together", () => {
    const many = Object.fromEntries(Array.from({ length: 65 }, (_, index) => [`channel_key:#${index}`, "k"]));
    expect(refusal(many)).toContain("more than 64 fields");
    const wide: LinkDeclaration = {
      ...FORM,
      fields: Array.from({ length: 20 }, (_, index) => field(`f${index}`, "line", { max_bytes: 2_000 })),
    };
    const large = Object.fromEntries(wide.fields.map(({ name }) => [name, "x".repeat(1_000)]));
    expect(() => takeLinkFields(wide, large)).toThrow(FabricError);
  });
});

test("whatever is given: it is refused as a fault of the request, or every declared secret leaves the settings", () => {
  const names = fc.oneof(
    fc.constantFrom(
      "nick",
      "sasl",
      "password",
      "pin",
      "auth",
      "tls",
      "ca",
      "channel_key:#a",
      "__proto__",
      "account",
    ),
    fc.string(),
  );
  const leaf = fc.oneof(fc.constant("S3CRET"), fc.string(), fc.integer(), fc.boolean(), fc.constant(null));
  const { tree } = fc.letrec((tie) => ({
    tree: fc.dictionary(names, fc.oneof({ depthSize: "small" }, leaf, fc.array(leaf), tie("tree"))),
  }));
  fc.assert(
    fc.property(tree, (given) => {
      try {
        const { settings } = takeLinkFields(FORM, given);
        const paths = JSON.stringify(settings);
        for (const hidden of ['"password"', '"pin"', '"channel_key']) expect(paths).not.toContain(hidden);
        expect(Object.getPrototypeOf(settings)).toBe(Object.prototype);
      } catch (error) {
        if (!isFabricError(error)) throw error;
        expect(error.code).toBe("request.invalid");
      }
    }),
  );
});

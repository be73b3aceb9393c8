import fc from "fast-check";
import { expect, test } from "vitest";
import { Isupport } from "./isupport.ts";

function said(...lines: readonly string[]): Isupport {
  const isupport = new Isupport();
  for (const line of lines) isupport.see(line.split(" "));
  return isupport;
}

test.each([
  ["", { memberPrefixes: "~&@%+", channelTypes: "#&", statusPrefixes: "", caseMapping: "rfc1459" }],
  ["PREFIX", { memberPrefixes: "" }],
  ["PREFIX=", { memberPrefixes: "" }],
  ["PREFIX=(ov)@+", { memberPrefixes: "@+" }],
  ["PREFIX=(qaohv)~&@%+ PREFIX=(ov)@+", { memberPrefixes: "@+" }],
  ["PREFIX=(ov", { memberPrefixes: "(ov" }],
  ["CHANTYPES", { channelTypes: "#&" }],
  ["CHANTYPES=#", { channelTypes: "#" }],
  ["STATUSMSG", { statusPrefixes: "" }],
  ["CASEMAPPING", { caseMapping: "ascii" }],
  ["CASEMAPPING=strict-rfc1459", { caseMapping: "strict-rfc1459" }],
  ["CASEMAPPING=ascii -CASEMAPPING", { caseMapping: "rfc1459" }],
  ["CHANMODES CLIENTTAGDENY NETWORK = == -", { memberPrefixes: "~&@%+" }],
])("tokens %j mean %j", (tokens, expected) => {
  expect(said(tokens)).toMatchObject(expected);
});

test("bounds of targets are each command's own; what is no bound is none", () => {
  const isupport = said("TARGMAX=NAMES:1,join:4,PRIVMSG:,KICK:x MSGREFTYPES=timestamp,msgid MAXLIST=");
  const bounds = ["JOIN", "PRIVMSG", "KICK", "PART"].map((command) => isupport.maxTargets(command));
  expect(bounds).toEqual([4, undefined, undefined, undefined]);
  expect(isupport.list("MSGREFTYPES")).toEqual(["timestamp", "msgid"]);
  expect(isupport.list("MAXLIST")).toBeUndefined();
});

test("numbers are numbers", () => {
  const isupport = said("NICKLEN=9 CHATHISTORY=many MONITOR TARGMAX=0");
  expect(["NICKLEN", "CHATHISTORY", "MONITOR", "TARGMAX"].map((name) => isupport.number(name))).toEqual([
    9,
    undefined,
    undefined,
    undefined,
  ]);
  expect(isupport.token("MONITOR")).toBe("");
});

test.each([
  ["", true],
  ["CLIENTTAGDENY", true],
  ["CLIENTTAGDENY=typing", true],
  ["CLIENTTAGDENY=draft/reply", false],
  ["CLIENTTAGDENY=*", false],
  ["CLIENTTAGDENY=*,-draft/reply", true],
])("with %j a reply's tag is relayed: %s", (tokens, relayed) => {
  expect(said(tokens).relaysTag("draft/reply")).toBe(relayed);
});

test("whatever a server says is read without an exception and within bounds", () => {
  fc.assert(
    fc.property(fc.array(fc.string(), { maxLength: 600 }), (tokens) => {
      const isupport = new Isupport();
      isupport.see(tokens);
      expect(isupport.channelTypes.length).toBeGreaterThan(0);
      expect(typeof isupport.memberPrefixes).toBe("string");
    }),
  );
});

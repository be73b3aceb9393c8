import fc from "fast-check";
import { expect, test } from "vitest";
import {
  CHANNEL_REF,
  channelRef,
  configurationRef,
  formatRef,
  identityRef,
  isChannelOf,
  messageRef,
  parseRef,
} from "./refs.ts";
import { codeOf } from "../sample.ts";

test.each([
  [channelRef("ten-9", "irc", ["libera", "#name"]), "msgr://channels/ten-9/bridge/irc/libera/%23name"],
  [channelRef("a", "irc", ["libera", "~acct", "bob"]), "msgr://channels/a/bridge/irc/libera/~acct/bob"],
  [channelRef("a", "telegram", ["channel:77"]), "msgr://channels/a/bridge/telegram/channel%3A77"],
  [channelRef("a", "matrix", ["!r:ex.org"]), "msgr://channels/a/bridge/matrix/%21r%3Aex.org"],
  [identityRef("irc", ["libera", "é'()*"]), "msgr://identity/bridges/irc/libera/%C3%A9%27%28%29%2A"],
  [messageRef("irc", "libera/#name", "m1"), "msgr://messages/irc/libera%2F%23name/m1"],
  [configurationRef("irc", "ten-9", ["libera"]), "msgr://bridges/irc/ten-9/libera"],
])("%s", (ref, text) => {
  expect(ref).toBe(text);
  expect(formatRef(parseRef(text))).toBe(text);
});

test("any remote name goes into a channel ref and comes back, in one spelling that the shape allows", () => {
  const segment = fc
    .string({ minLength: 1, unit: "grapheme" })
    .filter((text) => !text.includes("\0") && text.isWellFormed());
  fc.assert(
    fc.property(fc.array(segment, { minLength: 1, maxLength: 3 }), (remote) => {
      const ref = channelRef("w_1", "irc", remote);
      expect(parseRef(ref)).toEqual({ kind: "channel", workspace: "w_1", service: "irc", remote });
      expect(CHANNEL_REF.test(ref)).toBe(true);
      expect(isChannelOf(ref, "w_1", "irc")).toBe(true);
      expect(isChannelOf(ref, "w_1", undefined)).toBe(true);
    }),
  );
});

test.each([
  "",
  "http://channels/a/bridge/irc/x",
  "msgr://channels/a/bridge/irc",
  "msgr://channels/a/bridge/irc/",
  "msgr://channels/a/bridge/irc//x",
  "msgr://channels/a/bridges/irc/x",
  "msgr://channels/a b/bridge/irc/x",
  "msgr://channels/a/bridge/IRC/x",
  "msgr://channels/a/bridge/irc/%61",
  "msgr://channels/a/bridge/irc/%2d",
  "msgr://channels/a/bridge/irc/%3a",
  "msgr://channels/a/bridge/irc/a:b",
  "msgr://channels/a/bridge/irc/#x",
  "msgr://channels/a/bridge/irc/%00",
  "msgr://channels/a/bridge/irc/%FF",
  "msgr://channels/a/bridge/irc/%C3",
  "msgr://channels/a/bridge/irc/%ED%A0%80",
  "msgr://channels/a/bridge/irc/%",
  "msgr://messages/irc/c/m/x",
  "msgr://identity/bridges/irc",
  "msgr://else/a/b/c",
])("%s is refused", (text) => {
  expect(codeOf(() => parseRef(text))).toBe("envelope.schema");
});

test("the shape refuses what is not the one spelling, but for UTF-8, which is looked at where it matters", () => {
  for (const bad of ["%61", "%2D", "%2E", "%5F", "%7E", "%39", "%00", "%3a", "a b"]) {
    expect(CHANNEL_REF.test(`msgr://channels/a/bridge/irc/${bad}`)).toBe(false);
  }
  expect(codeOf(() => isChannelOf("msgr://channels/a/bridge/irc/%FF", "a", "irc"))).toBe("envelope.schema");
});

test("a channel belongs to its own workspace and service only", () => {
  const ref = channelRef("ws1", "irc", ["x"]);
  expect(isChannelOf(ref, "ws", "irc")).toBe(false);
  expect(isChannelOf(ref, "ws10", "irc")).toBe(false);
  expect(isChannelOf(ref, "ws1", "ir")).toBe(false);
  expect(isChannelOf(ref, "ws1", "irc2")).toBe(false);
});

test("nothing is encoded that would not come back", () => {
  for (const remote of [[], [""], ["\0"], ["\ud800"]]) {
    expect(codeOf(() => channelRef("a", "irc", remote))).toBe("envelope.schema");
  }
});

import type { OutboundAction } from "@linkspan/daemon-kit";
import type { Entity } from "@linkspan/envelopes";
import fc from "fast-check";
import { expect, test } from "vitest";
import { CAPABILITIES } from "./capabilities.ts";
import type { Self } from "./conversation.ts";
import { toParts, type Write } from "./outbound.ts";
import { MAX_LINE_BYTES, SOURCE_BYTES, textBytes } from "./wire/line-bytes.ts";

const self: Self = {
  workspaceId: "ws",
  identityId: "id-1",
  network: "testnet",
  nick: "alice",
  caseMapping: "rfc1459",
  channelTypes: "#",
  statusPrefixes: "@+",
};
const BOUNDS = { maxParts: 40, linesPerText: 2, costPerLine: 0.5 };
const ROOM = "msgr://channels/ws/bridge/irc/testnet/%23room";

function plan(
  payload: Readonly<Record<string, unknown>>,
  action = "outbound_message",
  conversation?: string,
): readonly Write[] {
  return writesOf({ action, conversation: conversation ?? ROOM, payload });
}

function writesOf(action: OutboundAction): readonly Write[] {
  return toParts(action, self, BOUNDS).map(({ data }) => data as Write);
}

const said = (writes: readonly Write[]): string[] =>
  writes.map((write) => (write.do === "say" ? `${write.command} ${write.target} ${write.text}` : write.do));

test("a message is a PRIVMSG to the conversation, a reply knows its target", () => {
  expect(plan({ text: "hello", reply_to: "abc" })).toEqual([
    { do: "say", command: "PRIVMSG", target: "#room", text: "hello", replyTo: "abc" },
  ]);
  const query = "msgr://channels/ws/bridge/irc/testnet/~id-1/bob";
  expect(said(plan({ text: "psst" }, "outbound_message", query))).toEqual(["PRIVMSG bob psst"]);
});

test("each line is a part, and a text costs the lines that it takes", () => {
  const costs = (action: OutboundAction) =>
    toParts(action, self, BOUNDS).map(({ index, cost }) => [index, cost]);
  const action = { action: "outbound_message", conversation: ROOM, payload: { text: "one\ntwo" } };
  expect(costs(action)).toEqual([
    [0, 1],
    [1, 1],
  ]);
  const join = { action: "join_channel", conversation: undefined, payload: { channel: "#new" } };
  expect(costs(join)).toEqual([[0, 0.5]]);
});

test("/me is an action, in each of its lines, and its styles keep their words", () => {
  const bold: Entity = { type: "bold", offset: 4, length: 5 };
  expect(said(plan({ text: "/me waves\nand goes", entities: [bold] }))).toEqual([
    "PRIVMSG #room \x01ACTION \x02waves\x01",
    "PRIVMSG #room \x01ACTION and goes\x01",
  ]);
});

test("Msgr's commands are understood, and no others", () => {
  expect(said(plan({ command: "NOTICE", target: "#Room", arguments: ["look"] }))).toEqual([
    "NOTICE #room look",
  ]);
  expect(said(plan({ command: "privmsg", body: "hi" }))).toEqual(["PRIVMSG #room hi"]);
  expect(said(plan({ command: "ACTION", body: "nods" }))).toEqual(["PRIVMSG #room \x01ACTION nods\x01"]);
  for (const command of ["OPER", "QUIT", "JOIN", "MODE", "PRIVMSG #x"]) {
    expect(() => plan({ command, arguments: ["x"] })).toThrow(
      expect.objectContaining({ code: "platform.unsupported" }),
    );
  }
});

test("a command cannot leave the conversation that it was allowed for", () => {
  for (const target of ["#other", "bob", "#room,#other"]) {
    expect(() => plan({ command: "PRIVMSG", target, arguments: ["x"] })).toThrow(
      expect.objectContaining({ code: "platform.forbidden" }),
    );
  }
});

test.each([
  "msgr://channels/other/bridge/irc/testnet/%23room",
  "msgr://channels/ws/bridge/irc/othernet/%23room",
  "msgr://channels/ws/bridge/irc/testnet/~id-2/bob",
  "msgr://channels/ws/bridge/irc/testnet/bob",
  "msgr://channels/ws/bridge/irc/testnet/%23a%20b",
  "msgr://channels/ws/bridge/irc/testnet/%23a%0D%0AQUIT",
  "msgr://channels/ws/bridge/irc/testnet/~id-1/%23room",
  "msgr://channels/ws/bridge/xmpp/testnet/%23room",
  "msgr://identity/bridges/irc/testnet/bob",
])("%s is not a place to speak", (conversation) => {
  expect(() => plan({ text: "x" }, "outbound_message", conversation)).toThrow(
    expect.objectContaining({ code: "platform.not_found" }),
  );
});

test("media is its address; without one it is refused rather than lost", () => {
  const media = [{ kind: "image", name: "a.png", url: "https://example.test/a.png" }];
  expect(said(plan({ text: "look", media }))).toEqual([
    "PRIVMSG #room look",
    "PRIVMSG #room [image] a.png: https://example.test/a.png",
  ]);
  expect(() => plan({ text: "", media: [{ kind: "file", sha256: "0".repeat(64) }] })).toThrow(
    expect.objectContaining({ code: "platform.unsupported" }),
  );
});

test("a message of too many lines is refused as a whole", () => {
  expect(plan({ text: "x\n".repeat(40) })).toHaveLength(40);
  expect(() => plan({ text: "x\n".repeat(41) })).toThrow(
    expect.objectContaining({ code: "platform.too_long" }),
  );
});

test.each(["", "\n\n", "   ", "\x02\x03"])("there is nothing to say in %j", (text) => {
  expect(() => plan({ text })).toThrow(expect.objectContaining({ code: "platform.unsupported" }));
});

test("channels are joined and left by name; a name that is two is none", () => {
  const join = (channel: string, key?: string) =>
    writesOf({ action: "join_channel", conversation: undefined, payload: { channel, key } });
  expect(join("#new", "sesame")).toEqual([{ do: "join", channel: "#new", key: "sesame" }]);
  for (const channel of ["new", "#a,#b", "#a b", "#a\r\nQUIT", "0", ""]) {
    expect(() => join(channel)).toThrow(expect.objectContaining({ code: "platform.not_found" }));
  }
  for (const key of ["a b", "a,b", ":a", "a\n"]) {
    expect(() => join("#new", key)).toThrow(expect.objectContaining({ code: "platform.not_found" }));
  }
  expect(() =>
    writesOf({ action: "join_channel", conversation: ROOM, payload: { channel: "#other" } }),
  ).toThrow(expect.objectContaining({ code: "platform.forbidden" }));
  expect(
    writesOf({
      action: "leave_channel",
      conversation: ROOM,
      payload: { channel: "#Room", reason: "a\r\nb" },
    }),
  ).toEqual([{ do: "leave", channel: "#Room", reason: "ab" }]);
});

test("a reason and a key are bounded by bytes, and cut between characters", () => {
  const leave = (reason: string) =>
    writesOf({ action: "leave_channel", conversation: undefined, payload: { channel: "#room", reason } });
  const family = "👩‍👩‍👧‍👦";
  const [write] = leave(family.repeat(100_000));
  expect(write).toEqual({ do: "leave", channel: "#room", reason: family.repeat(6) });
  expect(leave(`${"x".repeat(159)}é`)).toEqual([{ do: "leave", channel: "#room", reason: "x".repeat(159) }]);
  expect(leave("bye\uD83D")).toEqual([{ do: "leave", channel: "#room", reason: "bye\uFFFD" }]);
  const join = {
    action: "join_channel",
    conversation: undefined,
    payload: { channel: "#room", key: "k".repeat(101) },
  };
  expect(() => writesOf(join)).toThrow(expect.objectContaining({ code: "platform.not_found" }));
});

test("whatever is said fits a line, with the longest address before it, and is one line", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary", maxLength: 3_000 }), fc.boolean(), (text, emote) => {
      fc.pre(/[^\s\0-\x1F\x7F]/.test(text));
      for (const write of plan({ text: `${emote ? "/me " : ""}${text.replaceAll("\n", " ")}` })) {
        if (write.do !== "say") throw new Error("not said");
        const line = ` ${write.command} ${write.target} :${write.text}`;
        expect(SOURCE_BYTES + Buffer.byteLength(line) + 2).toBeLessThanOrEqual(MAX_LINE_BYTES);
        expect(line).not.toMatch(/[\r\n\0]/);
        expect(write.text.replace(/^\x01ACTION |\x01$/g, "")).not.toContain("\x01");
      }
    }),
  );
});

test("what the capabilities say of a part's size holds for every channel", () => {
  for (const name of ["#a", "#room", `#${"x".repeat(100)}`]) {
    expect(textBytes("PRIVMSG", name)).toBeLessThanOrEqual(CAPABILITIES.maxPartBytes ?? 0);
  }
});

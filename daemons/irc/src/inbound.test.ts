import { readFileSync } from "node:fs";
import { join } from "node:path";
import { InboundEventSchema } from "@linkspan/envelopes";
import { expect, test } from "vitest";
import { parseLine } from "./client.ts";
import type { Self } from "./conversation.ts";
import { toEvents, type Line, type Seen, serverTime, splitEvent } from "./inbound.ts";
import type { CaseMapping } from "./wire/casemapping.ts";

const RECEIVED = new Date("2026-11-20T12:00:00.000Z");

function self(caseMapping: CaseMapping = "rfc1459", nick = "alice"): Self {
  const server = { caseMapping, channelTypes: "#&", statusPrefixes: "@+" };
  return { workspaceId: "ws", identityId: "id-1", network: "testnet", nick, ...server };
}

function line(raw: string): Line {
  const parsed = parseLine(raw);
  if (parsed === undefined) throw new Error(`not a line: ${raw}`);
  return parsed;
}

const seen = (number: number): Seen => ({ connection: "conn", line: number, receivedAt: RECEIVED });

/** The events of a fixture's lines, a line each: conversation, sender, kind, text, id. */
function told(server: string, caseMapping: CaseMapping): string[] {
  const lines = readFileSync(join(import.meta.dirname, `../fixtures/${server}.txt`), "utf8").split("\n");
  return lines.filter(Boolean).flatMap((raw, index) =>
    toEvents(line(raw), self(caseMapping), seen(index + 1), ["#room"]).map(({ conversation, payload }) => {
      InboundEventSchema.parse(payload);
      const { sender, kind, text, remote_id, sent_at } = payload;
      const where = conversation.replace("msgr://channels/ws/bridge/irc/testnet/", "");
      return [where, sender.is_self ? `${sender.name}*` : sender.name, kind, text, remote_id, sent_at].join(
        " | ",
      );
    }),
  );
}

test.each([
  ["inspircd", "rfc1459"],
  ["ngircd", "ascii"],
] as const)("what %s sent is mapped as it was", async (server, caseMapping) => {
  await expect(`${told(server, caseMapping).join("\n")}\n`).toMatchFileSnapshot(
    `../fixtures/${server}.events.txt`,
  );
});

test("formatting becomes entities, replies and accounts are kept, the cursor can be resumed from", () => {
  const raw =
    "@time=2026-11-20T11:34:58.123Z;msgid=abc;account=bobby;+draft/reply=xyz :bob!b@h PRIVMSG #Room :\x02hi\x02 there";
  const [event, ...more] = toEvents(line(raw), self(), seen(7));
  expect(more).toEqual([]);
  expect(event).toEqual({
    conversation: "msgr://channels/ws/bridge/irc/testnet/%23room",
    occurredAt: new Date("2026-11-20T11:34:58.123Z"),
    payload: {
      kind: "message",
      remote_id: "abc",
      revision: "0",
      account: "id-1",
      sender: { ref: "msgr://identity/bridges/irc/testnet/bob", name: "bob", is_self: false },
      sent_at: "2026-11-20T11:34:58.123Z",
      text: "hi there",
      entities: [{ type: "bold", offset: 0, length: 2 }],
      reply_to: "xyz",
      cursor: {
        connection: "conn",
        line: 7,
        at: "2026-11-20T12:00:00.000Z",
        msgid: "abc",
        server_time: "2026-11-20T11:34:58.123Z",
      },
      native: {
        network: "testnet",
        command: "PRIVMSG",
        target: "#Room",
        hostmask: "bob!b@h",
        account: "bobby",
      },
    },
  });
});

test("without an id a line is named by its connection and number, and dated when it came", () => {
  const [event] = toEvents(line(":bob!b@h PRIVMSG #room :hi"), self(), seen(12));
  expect(event?.payload.remote_id).toBe("conn.12");
  expect(event?.payload.sent_at).toBe("2026-11-20T12:00:00.000Z");
});

test.each([
  ["2026-11-20T11:34:58.123Z", "2026-11-20T11:34:58.123Z"],
  ["yesterday", undefined],
  ["1500-01-01T00:00:00.000Z", undefined],
  ["+275760-09-13T00:00:00.000Z", undefined],
])("a server's time of %s is believed as %s", (time, believed) => {
  expect(serverTime(line(`@time=${time} :bob!b@h PRIVMSG #room :hi`))?.toISOString()).toBe(believed);
});

test.each([
  [":bob!b@h PRIVMSG alice :psst", "~id-1/bob"],
  [":bob!b@h PRIVMSG ALICE :psst", "~id-1/bob"],
  [":alice!a@h PRIVMSG Carol :from another client", "~id-1/carol"],
  [":bob!b@h PRIVMSG @#Room :operators only", "%23room"],
  [":bob!b@h PRIVMSG @+#Room :operators and voiced only", "%23room"],
  [":B[o]b!b@h PRIVMSG alice :folded", "~id-1/b%7Bo%7Db"],
  [":bob!b@h PRIVMSG $$* :to everybody", "~id-1/bob"],
])("%s is said in %s", (raw, where) => {
  const [event] = toEvents(line(raw), self(), seen(1));
  expect(event?.conversation).toBe(`msgr://channels/ws/bridge/irc/testnet/${where}`);
});

test("what the same account says under another nickname is its own", () => {
  const mine = { ...self(), account: "Alice-Account" };
  const [event] = toEvents(line("@account=alice-account :alice2!a@h PRIVMSG #room :hi"), mine, seen(1));
  expect(event?.payload.sender.is_self).toBe(true);
});

test("typing, reactions and deletions are understood", () => {
  const kinds = [
    "@msgid=1;+typing=active :bob!b@h TAGMSG #room",
    "@msgid=2;+draft/react=👍;+draft/reply=abc :bob!b@h TAGMSG #room",
    "@msgid=3 :bob!b@h REDACT #room abc :spam",
    "@msgid=4;+example=1 :bob!b@h TAGMSG #room",
  ].flatMap((raw) => toEvents(line(raw), self(), seen(1)));
  expect(kinds.map(({ payload: { kind, text, target } }) => [kind, text, target])).toEqual([
    ["typing", "active", undefined],
    ["reaction", "👍", "abc"],
    ["delete", undefined, "abc"],
  ]);
});

test("a quit is one event per shared channel, each with an id of its own", () => {
  const events = toEvents(line("@msgid=q :bob!b@h QUIT :bye"), self(), seen(3), ["#a", "#b"]);
  expect(events.map(({ payload }) => payload.remote_id)).toEqual(["q:#a", "q:#b"]);
});

test("a netsplit is one event, however many it took", () => {
  const nicks = Array.from({ length: 500 }, (_, index) => `user${index}`);
  const { payload } = splitEvent("netsplit", "#room", nicks, ["a.test", "b.test"], self(), seen(9));
  expect(InboundEventSchema.parse(payload)).toMatchObject({
    kind: "membership",
    text: "netsplit",
    sender: { name: "a.test" },
    native: { servers: ["a.test", "b.test"], count: 500 },
  });
  expect(payload.native?.["nicks"]).toHaveLength(100);
});

test.each([
  ":irc.test.invalid NOTICE * :*** Looking up your hostname",
  ":bob!b@h PRIVMSG alice :\x01VERSION\x01",
  ":bob!b@h NOTICE alice :\x01VERSION something\x01",
  ":bob!b@h PRIVMSG alice :\x01DCC SEND file 1 2 3\x01",
  ":irc.test.invalid 372 alice :- message of the day",
  ":bob!b@h MODE #room +o carol",
  "PING :abc",
])("%s is no event", (raw) => {
  expect(toEvents(line(raw), self(), seen(1), ["#room"])).toEqual([]);
});

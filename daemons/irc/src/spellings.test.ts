/** Folded names are for comparing; what is written is the spelling that was seen. */
import { until } from "@linkspan/daemon-kit/contract";
import fc from "fast-check";
import { expect, test } from "vitest";
import { Spellings } from "./session/spellings.ts";
import { Kept, ROOM } from "./testing/kept.ts";
import { type ScriptedClient, ScriptedServer } from "./testing/scripted-server.ts";

const MAPPINGS = [
  null,
  "ascii",
  "rfc1459",
  "strict-rfc1459",
  "rfc7613",
  "PRECIS",
  "something-new",
  "",
] as const;

/** A server that knows people by exactly their names, whatever mapping it tells. */
function exact(nicks: readonly string[]) {
  return (line: string, client: ScriptedClient): boolean => {
    const [, target = ""] = /^(?:@\S+ )?PRIVMSG (\S+) /.exec(line) ?? [];
    if (target === "" || target.startsWith("#") || nicks.includes(target)) return false;
    client.numeric("401", `${target} :No such nick/channel`);
    return true;
  };
}

const PEOPLE = [
  "bob^",
  "their[pc]",
  "Back\\slash",
  "~tilde",
  "*status",
  "user/network",
  "{brace}",
  "CamelCase",
  "Ölaf",
];

test.each(MAPPINGS)(
  "whoever writes to us is answered by the name that they showed, with CASEMAPPING %j",
  async (caseMapping) => {
    await using server = await ScriptedServer.listen({ caseMapping, on: exact(PEOPLE) });
    await using kept = await Kept.open({ port: server.port });
    await kept.becomes("connected");
    for (const nick of PEOPLE) {
      server.client.send(`:${nick}!u@host.test.invalid PRIVMSG alice :from ${nick}`);
      await until(nick, () => kept.texts().includes(`from ${nick}`));
      const { conversation, payload } = kept.host.events.at(-1) ?? {};
      expect(payload?.sender.name).toBe(nick);
      await kept.say("answered", { conversation: conversation ?? "" });
      expect(server.client.lines).toContain(`PRIVMSG ${nick} :answered`);
    }
  },
);

test("a sender without a user and host is answered, too", async () => {
  await using server = await ScriptedServer.listen();
  await using kept = await Kept.open({ port: server.port });
  await kept.becomes("connected");
  server.client.send(":*status PRIVMSG alice :You are connected");
  await until("it", () => kept.texts().length === 1);
  await kept.say("help", { conversation: kept.host.events.at(-1)?.conversation ?? "" });
  expect(server.client.lines).toContain("PRIVMSG *status :help");
});

test("strict-rfc1459 keeps two people apart that rfc1459 joins, and one person together", async () => {
  await using server = await ScriptedServer.listen({ caseMapping: "strict-rfc1459" });
  await using kept = await Kept.open({ port: server.port });
  await kept.becomes("connected");
  const say = (nick: string) => server.client.send(`:${nick}!u@h PRIVMSG alice :from ${nick}`);
  for (const nick of ["bob^", "bob~", "pc[1]", "PC{1}"]) say(nick);
  await until("all", () => kept.texts().length === 4);
  const places = kept.host.events
    .filter(({ payload }) => payload.kind === "message")
    .map((one) => one.conversation);
  expect(places[0]).not.toBe(places[1]);
  expect(places[2]).toBe(places[3]);
});

test("the name is known after a restart, where folding has lost it", async () => {
  await using server = await ScriptedServer.listen({ on: exact(["bob^"]) });
  const kept = await Kept.open({ port: server.port });
  await kept.becomes("connected");
  server.client.send(":bob^!u@h PRIVMSG alice :hello");
  await until("it", () => kept.texts().length === 1);
  const { conversation = "", payload } = kept.host.events.at(-1) ?? {};
  const checkpoint = payload?.cursor;
  expect(checkpoint).toMatchObject({ spelled: ["bob^"] });
  await kept[Symbol.asyncDispose]();
  await using again = await Kept.open({ port: server.port, checkpoint });
  await again.becomes("connected");
  await again.say("still there?", { conversation });
  expect(server.client.lines).toContain("PRIVMSG bob^ :still there?");
});

test("a channel has one reference and one lane, however it is spelled", async () => {
  await using server = await ScriptedServer.listen();
  await using kept = await Kept.open({ port: server.port, settings: { channels: ["#tour"] } });
  await kept.becomes("connected");
  const tour = ROOM.replace("room", "tour");
  server.client.send(":bob!b@h PRIVMSG #TOUR :loud", ":bob!b@h PRIVMSG #Tour :normal");
  await until("both", () => kept.texts().length === 2);
  expect(new Set(kept.host.events.map(({ conversation }) => conversation))).toEqual(new Set([tour]));
  await kept.say("loud, too", { conversation: ROOM.replace("room", "TOUR") });
  await kept.act("join_channel", { channel: "#TOUR" });
  expect(server.client.lines.filter((line) => /JOIN|PRIVMSG/.test(line))).toEqual([
    "JOIN #tour",
    "PRIVMSG #tour :loud, too",
  ]);
  expect((await kept.connection.roster?.())?.filter(({ kind }) => kind === "channel")).toEqual([
    { ref: tour, name: "#tour", kind: "channel" },
  ]);
});

test("what is kept of spellings is bounded", () => {
  fc.assert(
    fc.property(fc.array(fc.string({ minLength: 1, maxLength: 9 }), { maxLength: 100 }), (names) => {
      const spellings = new Spellings(names);
      for (const name of names) spellings.see(`${name}^`, `${name}~`);
      expect(spellings.kept.length).toBeLessThanOrEqual(16);
      for (const name of names) expect(spellings.of(`${name}~`, (one) => one)).toBe(`${name}^`);
    }),
  );
});

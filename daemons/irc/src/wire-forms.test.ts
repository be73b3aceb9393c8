/** Forms that some servers use: served, or skipped with one warning; none tears the connection down. */
import { until } from "@linkspan/daemon-kit/contract";
import { expect, test } from "vitest";
import { Kept, ROOM } from "./testing/kept.ts";
import { type ScriptedClient, ScriptedServer } from "./testing/scripted-server.ts";

/** Sends lines and waits until the one behind them has arrived. */
async function after(kept: Kept, client: ScriptedClient, ...lines: readonly string[]): Promise<void> {
  client.send(...lines, ":bob!b@h PRIVMSG #room :marker");
  await until("the marker", () => kept.texts().includes("marker"));
}

test.each([
  ["PING :token", "PONG :token"],
  ["PING token", "PONG :token"],
  ["PING :with blanks in it", "PONG :with blanks in it"],
  ["PING ::colon", "PONG ::colon"],
  ["PING server1 server2", "PONG :server2"],
  [":irc.test.invalid PING :LAG123 456", "PONG :LAG123 456"],
  ["@time=2026-11-20T11:34:58.123Z PING :tagged", "PONG :tagged"],
  ["PING", "PONG :"],
])("%s is answered by %s", async (ping, pong) => {
  await using server = await ScriptedServer.listen();
  await using kept = await Kept.open({ port: server.port });
  await kept.becomes("connected");
  await after(kept, server.client, ping);
  await until("the answer", () => server.client.lines.includes(pong));
});

test.each([
  ["a MOTD that never ends", ["375", "372"]],
  ["no MOTD and no word of it", []],
  ["an end that is another's", ["365"]],
])("a server with %s is connected to all the same", async (_, greeting) => {
  await using server = await ScriptedServer.listen({ greeting });
  await using kept = await Kept.open({ port: server.port, connector: { patience: { greetMs: 50 } } });
  await kept.becomes("connected");
  await kept.say("hello");
  expect(server.clients).toHaveLength(1);
});

test("a server that ends its greeting twice welcomes once", async () => {
  await using server = await ScriptedServer.listen({ greeting: ["376", "422"] });
  await using kept = await Kept.open({ port: server.port });
  await kept.becomes("connected");
  await after(
    kept,
    server.client,
    ":irc.test.invalid 422 alice :MOTD File is missing",
    ":irc.test.invalid 001 alice :again",
  );
  expect(server.client.lines.filter((line) => line.startsWith("JOIN"))).toEqual(["JOIN #room"]);
});

test("a number that an old server asks back in words is given", async () => {
  await using server = await ScriptedServer.listen({
    on: (line, client) => {
      if (line.startsWith("USER")) client.numeric("513", ":To connect, type /QUOTE PONG 4567");
      return line.startsWith("USER") ? false : line === "PONG :4567";
    },
  });
  await using kept = await Kept.open({ port: server.port });
  await kept.becomes("connected");
  expect(server.client.lines).toContain("PONG :4567");
});

test.each([
  ["PREFIX", ["alice", "bob"], ["alice", "bob"]],
  ["PREFIX=", ["alice", "bob"], ["alice", "bob"]],
  ["PREFIX=(ov)@+", ["@alice", "+bob", "@+carol"], ["alice", "bob", "carol"]],
  ["CHANTYPES", ["@alice", "bob"], ["alice", "bob"]],
  ["CHANMODES", ["@alice", "bob"], ["alice", "bob"]],
  ["CLIENTTAGDENY", ["@alice", "bob"], ["alice", "bob"]],
  ["CASEMAPPING NETWORK STATUSMSG = ==", ["@alice", "bob"], ["alice", "bob"]],
])("an ISUPPORT token without its value, %s, is no reason to reconnect", async (token, names, members) => {
  await using server = await ScriptedServer.listen({
    caps: ["message-tags"],
    tokens: token.split(" "),
    on: (line, client) => {
      if (!line.startsWith("JOIN")) return false;
      client.send(`:${client.mask} JOIN #room`);
      client.numeric("353", `= #room :${names.join(" ")}`);
      client.numeric("366", "#room :End of /NAMES list.");
      return true;
    },
  });
  await using kept = await Kept.open({ port: server.port });
  await kept.becomes("connected");
  await after(kept, server.client);
  expect(server.clients).toHaveLength(1);
  const contacts = (await kept.connection.roster?.())?.filter(({ kind }) => kind === "contact");
  const wanted = members.filter((nick) => nick !== "alice");
  expect(contacts?.map(({ name }) => name)).toEqual(expect.arrayContaining(wanted));
});

const ODD = [
  ":bob!b@h JOIN",
  ":bob!b@h JOIN :",
  ":alice!a@h JOIN",
  ":bob!b@h PART",
  ":alice!a@h PART :",
  ":irc.test.invalid 332 alice",
  ":irc.test.invalid 332 alice :topic alone",
  ":irc.test.invalid 332",
  ":irc.test.invalid 353 alice = #room",
  ":irc.test.invalid 353",
  ":irc.test.invalid 005",
  ":irc.test.invalid 005 alice",
  ":bob!b@h KICK #room",
  ":bob!b@h KICK",
  ":bob!b@h NICK",
  ":bob!b@h NICK :",
  ":bob!b@h TOPIC",
  ":bob!b@h PRIVMSG",
  ":bob!b@h PRIVMSG #room",
  ":bob!b@h PRIVMSG :",
  ":bob!b@h NOTICE",
  "PRIVMSG #room :who am I",
  "PRIVMSG alice :who am I",
  "NOTICE #room :who am I",
  "JOIN #room",
  "PART #room",
  "NICK carol",
  "QUIT :nobody",
  "CAP",
  "CAP *",
  ":irc.test.invalid CAP * ACK",
  ":irc.test.invalid CAP * NEW",
  "AUTHENTICATE",
  "900",
  ":irc.test.invalid 900 alice",
  "BATCH",
  "BATCH +",
  ":irc.test.invalid BATCH -never",
  "FAIL",
  ":irc.test.invalid 470",
  ":irc.test.invalid 470 alice #room",
  ":irc.test.invalid 433",
  ":irc.test.invalid 731 alice",
  "@ PRIVMSG #room :no tags",
  "@=;;=; :bob!b@h",
  "@time :bob!b@h TAGMSG",
  "@batch=none :bob!b@h TAGMSG #room",
  "@time=never;msgid=;=x;+draft/reply= :!@ TAGMSG #room",
  ":",
  "::",
  ": :",
  "@a",
  " ",
];

test("odd lines are skipped, each command with one warning, and the connection stays", async () => {
  await using server = await ScriptedServer.listen({ caps: ["message-tags", "batch", "server-time"] });
  await using kept = await Kept.open({ port: server.port });
  const warned: unknown[] = [];
  kept.host.log.warn = (entry: unknown) => warned.push(entry);
  await kept.becomes("connected");
  const before = kept.host.events.length;
  await after(kept, server.client, ...ODD, ...ODD);
  expect(server.clients).toHaveLength(1);
  expect(kept.host.states.some(({ state }) => state === "transient_disconnect")).toBe(false);
  const told = kept.host.events
    .slice(before)
    .map(({ payload }) => `${payload.sender.name} ${payload.text ?? ""}`);
  expect(told).toEqual(["bob marker"]);
  const commands = warned.map((entry) => (entry as { command?: string }).command);
  expect(commands).toEqual([...new Set(commands)]);
  expect(commands).toEqual(expect.arrayContaining(["JOIN", "PART", "332", "PRIVMSG", "CAP"]));
  await kept.say("undisturbed");
});

test.each(ODD)("%j alone does no harm while it is being connected", async (line) => {
  await using server = await ScriptedServer.listen({
    on: (sent, client) => {
      if (sent.startsWith("USER")) client.send(line);
      return false;
    },
  });
  await using kept = await Kept.open({ port: server.port, connector: { patience: { greetMs: 50 } } });
  await kept.becomes("connected");
  expect(server.clients).toHaveLength(1);
});

test("one line may name several channels", async () => {
  await using server = await ScriptedServer.listen();
  await using kept = await Kept.open({ port: server.port, settings: { channels: ["#room", "#other"] } });
  await kept.becomes("connected");
  const before = kept.host.events.length;
  await after(kept, server.client, ":bob!b@h JOIN #room,#other", ":bob!b@h PART #room,#other :bye");
  const told = kept.host.events.slice(before, -1);
  expect(told.map(({ payload }) => payload.text)).toEqual(["join", "join", "leave", "leave"]);
  expect(new Set(told.map(({ payload }) => payload.remote_id)).size).toBe(4);
  expect(new Set(told.map(({ conversation }) => conversation))).toEqual(
    new Set([ROOM, ROOM.replace("room", "other")]),
  );
});

test.each(["irc.test.invalid", "localhost"])("the server as sender, %s, is no person", async (serverName) => {
  await using server = await ScriptedServer.listen({ serverName });
  await using kept = await Kept.open({ port: server.port });
  await kept.becomes("connected");
  const before = kept.host.events.length;
  const all = [`NOTICE alice :*** Notice`, `NOTICE #room :to all`, `PRIVMSG alice :odd`, "NOTICE $* :global"];
  await after(kept, server.client, ...all.map((one) => `:${serverName} ${one}`));
  expect(kept.host.events.slice(before).map(({ payload }) => payload.text)).toEqual(["marker"]);
});

test("lines up to the limits of tags are served, whatever their length", async () => {
  await using server = await ScriptedServer.listen({ caps: ["message-tags"] });
  await using kept = await Kept.open({ port: server.port });
  await kept.becomes("connected");
  await after(kept, server.client, `@+x=${"y".repeat(8_000)} :bob!b@h PRIVMSG #room :${"z".repeat(20_000)}`);
  expect(kept.texts()[0]).toHaveLength(20_000);
});

test("joins and parts that a history service describes in messages are no chat, and are asked for as lines", async () => {
  await using server = await ScriptedServer.listen({
    caps: ["message-tags", "server-time", "batch", "draft/chathistory", "draft/event-playback"],
    on: (line, client) => {
      if (!line.startsWith("CHATHISTORY LATEST")) return false;
      const at = (second: number) => `@batch=h;msgid=m${second};time=2026-11-20T11:34:0${second}.000Z`;
      client.send(
        ":irc.test.invalid BATCH +h chathistory #room",
        `${at(1)} :HistServ!HistServ@localhost PRIVMSG #room :carol joined the channel`,
        `${at(2)} :carol!c@h JOIN #room`,
        `${at(3)} :carol!c@h PRIVMSG #room :hello`,
        `${at(4)} :irc.test.invalid NOTICE #room :Replaying up to 10 lines`,
        `${at(5)} :carol!c@h NICK caroline`,
        `${at(6)} :caroline!c@h QUIT :bye`,
        ":irc.test.invalid BATCH -h",
      );
      return true;
    },
  });
  await using kept = await Kept.open({ port: server.port });
  await kept.becomes("connected");
  expect(server.client.lines.find((line) => line.startsWith("CAP REQ"))).toContain("draft/event-playback");
  const before = kept.host.events.length;
  await kept.connection.history?.({ conversation: ROOM, limit: 50 });
  const told = kept.host.events.slice(before);
  expect(told.map(({ payload }) => `${payload.kind} ${payload.text ?? ""}`)).toEqual([
    "membership join",
    "message hello",
    "membership nick",
    "membership quit",
  ]);
  expect(told.every(({ conversation }) => conversation === ROOM)).toBe(true);
});

test("messages of a bouncer about its replay are no chat; those of its modules and of people with such names are", async () => {
  await using server = await ScriptedServer.listen({ caps: ["message-tags", "server-time", "batch"] });
  await using kept = await Kept.open({ port: server.port });
  await kept.becomes("connected");
  const before = kept.host.events.length;
  await after(
    kept,
    server.client,
    ":***!znc@znc.in PRIVMSG #room :Buffer Playback...",
    ":irc.znc.in BATCH +b znc.in/playback #room",
    "@batch=b;time=2026-11-20T11:34:01.000Z :*buffextras!buffextras@znc.in PRIVMSG #room :bob!b@h joined",
    "@batch=b;time=2026-11-20T11:34:02.000Z :bob!b@h PRIVMSG #room :[12:00] missed",
    ":irc.znc.in BATCH -b",
    ":***!znc@znc.in PRIVMSG #room :Playback Complete.",
    ":*status!znc@znc.in PRIVMSG alice :Disconnected from IRC",
    ":HistServ!real@person.test.invalid PRIVMSG alice :I am real",
  );
  const texts = kept.host.events.slice(before).map(({ payload }) => payload.text);
  expect(texts).toEqual(["[12:00] missed", "Disconnected from IRC", "I am real", "marker"]);
});

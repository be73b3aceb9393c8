/** A whole connection against a scripted server: what no server on a test machine can be made to do. */
import { UncertainSend } from "@linkspan/daemon-kit";
import { until } from "@linkspan/daemon-kit/contract";
import fc from "fast-check";
import { expect, test } from "vitest";
import { Kept, ROOM } from "./testing/kept.ts";
import { type ScriptedClient, ScriptedServer } from "./testing/scripted-server.ts";

const MODERN = ["message-tags", "server-time", "batch", "labeled-response", "echo-message"];
const BOB = ":bob!b@host.test.invalid";

const at = (second: number): string => `2026-11-20T11:34:${String(second).padStart(2, "0")}.000Z`;
const labelOf = (line: string): string => /label=([^; ]+)/.exec(line)?.[1] ?? "";
/** A history batch, as a server sends it. */
function history(
  client: ScriptedClient,
  target: string,
  messages: readonly (readonly [number, string])[],
): void {
  client.send(`:irc.test.invalid BATCH +h chathistory ${target}`);
  for (const [second, text] of messages) {
    client.send(`@batch=h;msgid=m${second};time=${at(second)} ${BOB} PRIVMSG ${target} :${text}`);
  }
  client.send(":irc.test.invalid BATCH -h");
}

test("the gap since the checkpoint is closed from the server's history, before what happens now", async () => {
  const store = Array.from({ length: 25 }, (_, index) => [index + 10, `missed ${index}`] as const);
  const asked: string[] = [];
  await using server = await ScriptedServer.listen({
    caps: [...MODERN, "draft/chathistory"],
    tokens: ["CHATHISTORY=10"],
    on: (line, client) => {
      if (!line.startsWith("CHATHISTORY")) return false;
      asked.push(line);
      const [, verb, target = "", from = "", limit = "0"] = line.split(" ");
      if (verb === "TARGETS") {
        client.send(":irc.test.invalid BATCH +t draft/chathistory-targets");
        client.send(`@batch=t :irc.test.invalid CHATHISTORY TARGETS bob ${at(30)}`);
        client.send(":irc.test.invalid BATCH -t");
      } else if (target === "bob") {
        client.send(":irc.test.invalid BATCH +q chathistory bob");
        client.send(`@batch=q;msgid=private;time=${at(30)} ${BOB} PRIVMSG alice :missed in private`);
        client.send(":irc.test.invalid BATCH -q");
      } else {
        if (asked.length <= 2) client.send(`@msgid=now;time=${at(59)} ${BOB} PRIVMSG #room :said meanwhile`);
        const since = from.startsWith("msgid=")
          ? store.findIndex(([second]) => from === `msgid=m${second}`) + 1
          : 0;
        history(client, target, store.slice(since, since + Number(limit)));
      }
      return true;
    },
  });
  const checkpoint = { connection: "earlier", line: 3, at: at(9), server_time: at(9) };
  await using kept = await Kept.open({ port: server.port, checkpoint });
  await kept.becomes("connected");
  await until(
    "all of it",
    () => kept.texts().includes("said meanwhile") && kept.texts().includes("missed in private"),
  );
  const inRoom = kept.host.events.filter(
    (event) => event.conversation === ROOM && event.payload.kind === "message",
  );
  expect(inRoom.map(({ payload }) => payload.text)).toEqual([
    ...store.map(([, text]) => text),
    "said meanwhile",
  ]);
  expect(kept.host.events.find(({ payload }) => payload.remote_id === "private")?.conversation).toContain(
    "~id-1/bob",
  );
  expect(asked.filter((line) => line.includes("#room"))).toEqual([
    `CHATHISTORY AFTER #room timestamp=2026-11-20T11:33:59.000Z 10`,
    `CHATHISTORY AFTER #room msgid=m19 10`,
    `CHATHISTORY AFTER #room msgid=m29 10`,
  ]);
});

test("history that is asked for comes as events; a refusal is an error", async () => {
  await using server = await ScriptedServer.listen({
    caps: [...MODERN, "draft/chathistory"],
    on: (line, client) => {
      const [command, verb, target = ""] = line.split(" ");
      if (command !== "CHATHISTORY") return false;
      if (target === "#room") history(client, target, [[1, "long ago"]]);
      else
        client.send(`:irc.test.invalid FAIL CHATHISTORY INVALID_TARGET ${verb} ${target} :No such channel`);
      return true;
    },
  });
  await using kept = await Kept.open({ port: server.port });
  await kept.becomes("connected");
  await kept.connection.history?.({ conversation: ROOM, limit: 50 });
  expect(kept.texts()).toEqual(["long ago"]);
  expect(server.client.lines).toContain("CHATHISTORY LATEST #room * 50");
  const other = ROOM.replace("room", "other");
  await expect(kept.connection.history?.({ conversation: other, limit: 5 })).rejects.toMatchObject({
    code: "platform.not_found",
  });
});

test("without a history there is none to ask for", async () => {
  await using server = await ScriptedServer.listen();
  await using kept = await Kept.open({ port: server.port });
  await kept.becomes("connected");
  await expect(kept.connection.history?.({ conversation: ROOM, limit: 5 })).rejects.toMatchObject({
    code: "platform.unsupported",
  });
});

test("an answer within a labelled batch is the text's own", async () => {
  await using server = await ScriptedServer.listen({
    caps: MODERN,
    on: (line, client) => {
      if (!line.includes("PRIVMSG")) return false;
      const label = labelOf(line);
      client.send(`@label=${label} :irc.test.invalid BATCH +b labeled-response`);
      if (line.endsWith(":refused")) client.send("@batch=b :irc.test.invalid 404 alice #room :Cannot send");
      else {
        client.send("@batch=b :irc.test.invalid 301 alice #room :away");
        client.send(`@batch=b;msgid=id-${line.split(":").at(-1)} :${client.mask} PRIVMSG #room :altered`);
      }
      client.send(":irc.test.invalid BATCH -b");
      return true;
    },
  });
  await using kept = await Kept.open({ port: server.port });
  await kept.becomes("connected");
  expect((await kept.say("fine")).remoteId).toBe("id-fine");
  await expect(kept.say("refused")).rejects.toMatchObject({ code: "platform.forbidden" });
  expect(kept.texts()).toEqual([]);
});

test("what the server takes and shows to nobody is in doubt", async () => {
  await using server = await ScriptedServer.listen({
    caps: MODERN,
    on: (line, client) => {
      if (!line.includes("PRIVMSG")) return false;
      client.send(`@label=${labelOf(line)} :irc.test.invalid ACK`);
      return true;
    },
  });
  await using kept = await Kept.open({ port: server.port });
  await kept.becomes("connected");
  await expect(kept.say("into the void")).rejects.toBeInstanceOf(UncertainSend);
});

test("echoes without labels are matched though the server altered them; another client's are events", async () => {
  await using server = await ScriptedServer.listen({
    caps: ["message-tags", "echo-message"],
    on: (line, client) => {
      if (!line.includes("PRIVMSG")) return false;
      client.send(`@msgid=other :${client.mask} PRIVMSG #elsewhere :from my phone`);
      client.send(`@msgid=mine :${client.mask} PRIVMSG #ROOM :without colours`);
      return true;
    },
  });
  await using kept = await Kept.open({ port: server.port });
  await kept.becomes("connected");
  expect((await kept.say("with colours")).remoteId).toBe("mine");
  await until("the other", () => kept.texts().length > 0);
  expect(kept.host.events.at(-1)?.payload).toMatchObject({
    text: "from my phone",
    sender: { is_self: true },
  });
});

test("a text that the server asks to send later is a limit, and the kit is notified", async () => {
  await using server = await ScriptedServer.listen({
    on: (line, client) => {
      if (line.includes("PRIVMSG"))
        client.numeric("439", "#room :Target change too fast. Please wait 7 seconds.");
      return line.includes("PRIVMSG");
    },
  });
  await using kept = await Kept.open({ port: server.port });
  await kept.becomes("connected");
  await expect(kept.say("hurry")).rejects.toMatchObject({
    code: "platform.rate_limited",
    retryAfterMs: 7_000,
  });
  expect(kept.host.throttles).toMatchObject([{ retryAfterMs: 7_000 }]);
  expect(kept.host.throttles[0]?.reason).toContain("439");
});

test("a text that waits for a flood of others to pass is said when it has", async () => {
  await using server = await ScriptedServer.listen();
  await using kept = await Kept.open({ port: server.port });
  await kept.becomes("connected");
  kept.host.hold();
  const flood = Array.from({ length: 200 }, (_, index) => `${BOB} PRIVMSG #room :number ${index}`);
  server.client.send(...flood);
  await until("reading stops", () => kept.texts().length === 1);
  const said = kept.say("at last");
  kept.host.release();
  await said;
  await until("the flood is over", () => kept.texts().length === flood.length);
});

test("thrown out for flooding, it comes back and writes at half the pace", async () => {
  let floods = 0;
  await using server = await ScriptedServer.listen({
    on: (line, client) => {
      if (!line.startsWith("PRIVMSG") || floods > 0) return false;
      floods += 1;
      client.send("ERROR :Closing Link: alice[host] (Excess Flood)");
      client.drop();
      return true;
    },
  });
  const settings = { pace: { perSecond: 1, burst: 8 } };
  await using kept = await Kept.open({ port: server.port, settings });
  await kept.becomes("connected");
  await expect(kept.say("too much")).rejects.toBeInstanceOf(UncertainSend);
  await until(
    "it is back",
    () => server.clients.length === 2 && kept.host.states.at(-1)?.state === "connected",
  );
  expect(kept.host.throttles.length).toBeGreaterThan(0);
  expect(kept.host.states.some(({ code }) => code === "platform.rate_limited")).toBe(true);
  // Four lines at once are left, of which joining took one: two texts with their PINGs do not fit.
  await kept.say("one");
  const began = performance.now();
  await kept.say("two");
  expect(performance.now() - began).toBeGreaterThan(500);
});

test("a window that the pace does not fit into is not used", async () => {
  await using server = await ScriptedServer.listen();
  await using kept = await Kept.open({ port: server.port, settings: { pace: { perSecond: 0.1, burst: 3 } } });
  await kept.becomes("connected");
  await kept.say("one");
  await expect(kept.say("two")).rejects.toMatchObject({ code: "platform.rate_limited" });
  expect(server.client.lines.filter((line) => line.startsWith("PRIVMSG"))).toEqual(["PRIVMSG #room :one"]);
});

test("a netsplit and its netjoin are one event each, and messages come through in between", async () => {
  const users = Array.from({ length: 300 }, (_, index) => `user${index}`);
  await using server = await ScriptedServer.listen();
  await using kept = await Kept.open({ port: server.port, connector: { patience: { splitMs: 300 } } });
  await kept.becomes("connected");
  const { client } = server;
  const joins = users.map((user) => `:${user}!u@h JOIN #room`);
  client.send(...joins);
  await until("all joined", () => kept.texts("membership").length === 301);
  const quits = users.map((user) => `:${user}!u@h QUIT :hub.test.invalid leaf.test.invalid`);
  client.send(...quits, `${BOB} PRIVMSG #room :what happened?`);
  await until("the split", () => kept.texts("membership").includes("netsplit"));
  client.send(...joins);
  await until("its end", () => kept.texts("membership").includes("netjoin"));
  expect(kept.texts("membership").slice(301)).toEqual(["netsplit", "netjoin"]);
  expect(kept.texts()).toEqual(["what happened?"]);
  const split = kept.host.events.find(({ payload }) => payload.text === "netsplit");
  expect(split?.payload.native).toMatchObject({
    count: 300,
    servers: ["hub.test.invalid", "leaf.test.invalid"],
  });
});

test("whose comings and goings are events is a setting", async () => {
  for (const [membership, expected] of [
    // Our own decide who of several accounts reads a channel, so they are always told.
    ["none", ["join", "kick"]],
    ["own", ["join", "kick"]],
  ] as const) {
    await using server = await ScriptedServer.listen();
    await using kept = await Kept.open({ port: server.port, settings: { membership } });
    await kept.becomes("connected");
    server.client.send(`${BOB} PART #room`, `${BOB} JOIN #room`, `${BOB} KICK #room alice :out`);
    server.client.send(`${BOB} PRIVMSG alice :sorry`);
    await until("the last", () => kept.texts().includes("sorry"));
    expect(kept.texts("membership")).toEqual(expected);
  }
});

test("channels with keys are joined with them", async () => {
  await using server = await ScriptedServer.listen();
  const settings = { channels: ["#open", "#locked"] };
  await using kept = await Kept.open({
    port: server.port,
    settings,
    secrets: { "channel_key:#locked": "sesame" },
  });
  await kept.becomes("connected");
  expect(server.client.lines).toContain("JOIN #locked,#open sesame");
});

test("channels joined and left on request are so after a restart, too", async () => {
  await using server = await ScriptedServer.listen({
    on: (line, client) => {
      if (line.startsWith("PART")) client.send(`:${client.mask} ${line}`);
      return line.startsWith("PART");
    },
  });
  const settings = { channels: ["#room", "#old"] };
  const kept = await Kept.open({ port: server.port, settings });
  await kept.becomes("connected");
  await kept.act("join_channel", { channel: "#new" });
  await kept.act("leave_channel", { channel: "#old" });
  await until("the leave", () => kept.texts("membership").includes("leave"));
  server.client.send(`${BOB} PRIVMSG #room :later`);
  await until("the message", () => kept.texts().includes("later"));
  const checkpoint = kept.host.events.at(-1)?.payload.cursor ?? {};
  expect(checkpoint).toMatchObject({ joined: ["#new"], left: ["#old"] });
  await kept[Symbol.asyncDispose]();
  await using again = await Kept.open({ port: server.port, settings, checkpoint });
  await again.becomes("connected");
  expect(server.client.lines).toContain("JOIN #room,#new");
});

test("a channel that refuses is reported, and the others work", async () => {
  await using server = await ScriptedServer.listen({
    on: (line, client) => {
      if (line.startsWith("JOIN")) {
        client.send(`:${client.mask} JOIN #room`);
        client.numeric("474", "#club :Cannot join channel (+b)");
      }
      return line.startsWith("JOIN");
    },
  });
  await using kept = await Kept.open({ port: server.port, settings: { channels: ["#room", "#club"] } });
  expect(await kept.becomes("connected")).toContain("#club cannot be joined: you are banned there");
  await kept.say("still works");
  await expect(kept.say("not there", { conversation: ROOM.replace("room", "club") })).rejects.toMatchObject({
    code: "platform.forbidden",
  });
});

test("a topic is an event when it is set, and when it changed while we were away", async () => {
  let topic = "first";
  await using server = await ScriptedServer.listen({
    on: (line, client) => {
      if (!line.startsWith("JOIN")) return false;
      client.send(`:${client.mask} JOIN #room`);
      client.numeric("332", `#room :${topic}`);
      return true;
    },
  });
  await using kept = await Kept.open({ port: server.port });
  await kept.becomes("connected");
  server.client.send(`${BOB} TOPIC #room :second`);
  await until("both", () => kept.texts("channel").length === 2);
  topic = "second";
  server.client.drop();
  await until(
    "it is back",
    () => server.clients.length === 2 && kept.host.states.at(-1)?.state === "connected",
  );
  topic = "third";
  server.client.drop();
  await until("the third", () => kept.texts("channel").includes("third"));
  expect(kept.texts("channel")).toEqual(["first", "second", "third"]);
});

test("the waits between tries grow", async () => {
  await using server = await ScriptedServer.listen({
    on: (_line, client) => {
      client.drop();
      return true;
    },
  });
  const kept = await Kept.open({ port: server.port, connector: { retry: { minMs: 8, maxMs: 60_000 } } });
  const retries = () =>
    kept.host.states.flatMap(({ retryAt }) => (retryAt === undefined ? [] : [retryAt.getTime()]));
  await until("seven tries", () => retries().length >= 7);
  const waits = retries()
    .slice(1)
    .map((time, index) => time - (retries()[index] ?? 0));
  expect(waits.at(-1)).toBeGreaterThan(waits[0] ?? 0);
  expect(
    kept.host.states.filter(({ state }) => state === "transient_disconnect").length,
  ).toBeGreaterThanOrEqual(7);
  await kept[Symbol.asyncDispose]();
});

test("closing does not wait for the next try, however far it is", async () => {
  await using server = await ScriptedServer.listen({
    on: (_line, client) => {
      client.send("ERROR :Closing Link: alice[host] (Too many connections)");
      client.drop();
      return true;
    },
  });
  const kept = await Kept.open({ port: server.port });
  await kept.becomes("transient_disconnect");
  expect(kept.host.states.at(-1)?.retryAt?.getTime()).toBeGreaterThan(Date.now() + 60_000);
  await kept[Symbol.asyncDispose]();
  expect(server.clients).toHaveLength(1);
});

test("no line of a server, however odd, ends the process or stops the next", async () => {
  await using server = await ScriptedServer.listen({ caps: MODERN });
  await using kept = await Kept.open({ port: server.port });
  await kept.becomes("connected");
  const word = fc.oneof(
    fc.constantFrom(
      "PRIVMSG",
      "NOTICE",
      "JOIN",
      "NICK",
      "QUIT",
      "KICK",
      "BATCH",
      "CAP",
      "005",
      "353",
      "900",
      "AUTHENTICATE",
    ),
    fc.constantFrom(
      "#room",
      "alice",
      "bob",
      "+x",
      "-x",
      "LS",
      "ACK",
      "NEW",
      "CHANTYPES",
      "CHANMODES",
      "PREFIX=",
      ":",
      "",
    ),
    fc.string({ maxLength: 8 }),
  );
  const lines = fc.sample(
    fc.array(word, { maxLength: 6 }).map((words) => words.join(" ").replace(/[\r\n]/g, "")),
    {
      numRuns: 2_000,
      seed: 7,
    },
  );
  const odd = [
    "@",
    ":",
    "@a",
    ":a",
    "@a=b :c",
    " ",
    "PRIVMSG",
    ":bob PRIVMSG",
    ":bob!b@h PRIVMSG #room",
    "005 a CHANTYPES",
  ];
  for (const line of [...odd, ...lines.filter((each) => !each.startsWith("ERROR"))]) server.client.send(line);
  let sent = 0;
  await until("it goes on, perhaps on a new connection", () => {
    sent += 1;
    server.client.send(`${BOB} PRIVMSG #room :after all ${sent}`);
    return kept.texts().some((text) => text.startsWith("after all"));
  });
});

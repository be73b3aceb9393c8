/** Own messages and those of another client of the account are distinguished by content and order, now and after a crash. */
import { UncertainSend } from "@linkspan/daemon-kit";
import { until } from "@linkspan/daemon-kit/contract";
import { expect, test } from "vitest";
import { OwnSends } from "./session/own-sends.ts";
import { Kept, ROOM } from "./testing/kept.ts";
import { type ScriptedClient, ScriptedServer } from "./testing/scripted-server.ts";

const TAGS = ["message-tags", "echo-message", "server-time", "batch"];
const textOf = (line: string): string => line.slice(line.indexOf(" :") + 2);
const isText = (line: string): boolean => /^(?:@\S+ )?PRIVMSG #/.test(line);
const tagsOf = (line: string): string => (line.startsWith("@") ? `;${line.slice(1, line.indexOf(" "))}` : "");

/** Shows lines of ours in the channel: `other` from another client, `own` for what was just said. */
function show(client: ScriptedClient, ...lines: readonly (readonly [string, string])[]): void {
  client.send(...lines.map(([id, text]) => `@msgid=${id} :${client.mask} PRIVMSG #room :${text}`));
}

const COLOURED = "\x02bold\x02 words";

test.each([
  [
    "before it",
    [
      ["other", "from my phone"],
      ["mine", "hello there"],
    ],
    "hello there",
  ],
  [
    "behind it",
    [
      ["mine", "hello there"],
      ["other", "from my phone"],
    ],
    "hello there",
  ],
  [
    "on both sides",
    [
      ["o1", "one"],
      ["mine", "hello there"],
      ["o2", "two"],
    ],
    "hello there",
  ],
  [
    "and the server altered ours",
    [
      ["other", "from my phone"],
      ["mine", "hello their"],
    ],
    "hello there",
  ],
  [
    "and the server altered ours, first",
    [
      ["mine", "hello their"],
      ["other", "from my phone"],
    ],
    "hello there",
  ],
  [
    "with nearly our words",
    [
      ["other", "hello there!"],
      ["mine", "hello there"],
    ],
    "hello there",
  ],
  [
    "and the server took colours off",
    [
      ["other", "words"],
      ["mine", "bold words"],
    ],
    COLOURED,
  ],
] as const)("without labels another client's line is not lost, said %s", async (_, lines, said) => {
  await using server = await ScriptedServer.listen({
    caps: TAGS,
    on: (line, client) => {
      if (isText(line)) show(client, ...lines);
      return isText(line);
    },
  });
  await using kept = await Kept.open({ port: server.port });
  await kept.becomes("connected");
  const bold = { type: "bold", offset: 0, length: 4 } as const;
  const sent = said === COLOURED ? await kept.say("bold words", { entities: [bold] }) : await kept.say(said);
  expect(sent.remoteId).toBe("mine");
  const others = lines.filter(([id]) => id !== "mine").map(([, text]) => text);
  await until("the others", () => kept.texts().length === others.length);
  expect(kept.texts()).toEqual(others);
  expect(
    kept.host.events
      .filter(({ payload }) => payload.kind === "message")
      .every(({ payload }) => payload.sender.is_self),
  ).toBe(true);
});

test("two texts at once and a line of another client in between are three, each once", async () => {
  const waiting: string[] = [];
  await using server = await ScriptedServer.listen({
    caps: TAGS,
    on: (line, client) => {
      if (isText(line)) {
        waiting.push(textOf(line));
        return true;
      }
      if (!/^PING \S*\.w/.test(line.replace(":", "")) || waiting.length > 2) return false;
      const said = waiting.at(-1) ?? "";
      if (said === "first") show(client, ["a", "between"], ["b", "first"]);
      else show(client, ["c", "second"]);
      return false;
    },
  });
  await using kept = await Kept.open({ port: server.port });
  await kept.becomes("connected");
  expect((await kept.say("first")).remoteId).toBe("b");
  expect((await kept.say("second")).remoteId).toBe("c");
  expect(kept.texts()).toEqual(["between"]);
});

test("a line of another client that came before the connection broke is not lost", async () => {
  await using server = await ScriptedServer.listen({
    caps: TAGS,
    on: (line, client) => {
      if (!isText(line)) return line.startsWith("PING :") && client.lines.some(isText);
      show(client, ["other", "from my phone"]);
      setImmediate(() => client.drop());
      return true;
    },
  });
  await using kept = await Kept.open({
    port: server.port,
    connector: { retry: { minMs: 60_000, maxMs: 60_000 } },
  });
  await kept.becomes("connected");
  await expect(kept.say("mine")).rejects.toBeInstanceOf(UncertainSend);
  await until("it", () => kept.texts().includes("from my phone"));
});

/** A server that keeps a history and shows it at every connection; a crash is a new process with the last cursor. */
async function crashed(caps: readonly string[], relay: (line: string) => string) {
  const store: string[] = [];
  const server = await ScriptedServer.listen({
    caps: [...caps, "draft/chathistory"],
    on: (line, client) => {
      if (isText(line)) {
        store.push(
          `@time=${new Date().toISOString()}${relay(line)} :${client.mask} PRIVMSG #room :${textOf(line)}`,
        );
        return false;
      }
      if (!/^CHATHISTORY (?:AFTER|LATEST) #room/.test(line)) return false;
      client.send(":irc.test.invalid BATCH +h chathistory #room");
      client.send(...store.map((one) => one.replace("@", "@batch=h;")));
      client.send(
        `@batch=h;time=${new Date().toISOString()};msgid=phone :${client.mask} PRIVMSG #room :from my phone`,
      );
      client.send(`@batch=h;time=${new Date().toISOString()};msgid=bob :bob!b@h PRIVMSG #room :from bob`);
      client.send(":irc.test.invalid BATCH -h");
      return true;
    },
  });
  const kept = await Kept.open({ port: server.port });
  await kept.becomes("connected");
  const before = kept.host.events.at(-1)?.payload.cursor;
  await kept.say("said before the crash");
  server.client.send(`@time=${new Date().toISOString()};msgid=x :bob!b@h PRIVMSG #room :seen`);
  await until("it", () => kept.texts().includes("seen"));
  const after = kept.host.events.at(-1)?.payload.cursor;
  await kept[Symbol.asyncDispose]();
  return { server, before, after };
}

test.each([
  ["tags of clients are relayed, and the cursor knows nothing of the text", ["message-tags"], true],
  ["only the cursor knows of the text", [], false],
] as const)("after a crash own sends are recognised in the history: %s", async (_, extra, isMarked) => {
  const caps = ["server-time", "batch", ...extra];
  const { server, before, after } = await crashed(caps, (line) => (isMarked ? tagsOf(line) : ""));
  await using _server = server;
  const checkpoint = {
    ...(isMarked ? before : after),
    at: "2026-01-01T00:00:00.000Z",
    server_time: undefined,
  };
  await using again = await Kept.open({ port: server.port, checkpoint });
  await again.becomes("connected");
  await until("the history", () => again.texts().includes("from bob"));
  expect(again.texts()).toEqual(["from my phone", "from bob"]);
});

test("a bouncer that replays at once what was said before is recognised, and the same words said now are an event", async () => {
  const { server, after } = await crashed(["server-time", "batch"], () => "");
  await using _server = server;
  await using again = await Kept.open({ port: server.port, checkpoint: after });
  await again.becomes("connected");
  const mine = (time: string) => `@time=${time} :${server.client.mask} PRIVMSG #room :said before the crash`;
  const before = again.texts().length;
  server.client.send(mine(new Date(Date.now() - 60_000).toISOString()));
  server.client.send(mine(new Date(Date.now() + 1_000).toISOString()));
  server.client.send(":bob!b@h PRIVMSG #room :last");
  await until("the last", () => again.texts().includes("last"));
  const told = again
    .texts()
    .slice(before)
    .filter((text) => text !== "from bob" && text !== "from my phone");
  expect(told).toEqual(["said before the crash", "last"]);
});

test("the mark of one identity is not another's", async () => {
  await using server = await ScriptedServer.listen({ caps: TAGS });
  await using kept = await Kept.open({ port: server.port });
  await kept.becomes("connected");
  server.client.send(
    `@+linkspan/id=other1.key;msgid=m :${server.client.mask} PRIVMSG #room :of another installation`,
  );
  await until("it", () => kept.texts().length === 1);
  expect(kept.host.events.at(-1)).toMatchObject({
    conversation: ROOM,
    payload: { sender: { is_self: true } },
  });
});

test("an echo that comes late, after the confirmation of the text, is no event; said again by another client, it is one", async () => {
  await using server = await ScriptedServer.listen({
    caps: ["echo-message"],
    on: (line) => line.startsWith("PRIVMSG bob"),
  });
  await using kept = await Kept.open({ port: server.port });
  await kept.becomes("connected");
  const conversation = "msgr://channels/ws/bridge/irc/testnet/~id-1/bob";
  await kept.say("hello there", { conversation });
  const { client } = server;
  const echo = `:${client.mask} PRIVMSG bob :hello there`;
  client.send(echo, ":bob!b@h PRIVMSG #room :later");
  await until("what came later", () => kept.texts().includes("later"));
  expect(kept.texts()).toEqual(["later"]);
  client.send(echo, ":bob!b@h PRIVMSG #room :and on");
  await until("what came then", () => kept.texts().includes("and on"));
  expect(kept.texts()).toEqual(["later", "hello there", "and on"]);
});

test("a mark of ours on somebody else's line hides nothing: everybody can copy it", async () => {
  await using server = await ScriptedServer.listen({ caps: ["message-tags", "server-time"] });
  await using kept = await Kept.open({ port: server.port });
  await kept.becomes("connected");
  const mark = `+linkspan/id=${new OwnSends("id-1").markOf("copied")}`;
  server.client.send(
    `@${mark};time=${new Date().toISOString()} :eve!e@h PRIVMSG #room :with the time`,
    `@${mark} :eve!e@h PRIVMSG #room :without`,
    `@${mark} :${server.client.mask} PRIVMSG #room :ours, shown again`,
    ":eve!e@h PRIVMSG #room :last",
  );
  await until("the last one", () => kept.texts().includes("last"));
  expect(kept.texts()).toEqual(["with the time", "without", "last"]);
});

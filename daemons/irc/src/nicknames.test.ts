/** The state follows the server: who we are is what it says, told, and asked back where it is not what we want. */
import { until } from "@linkspan/daemon-kit/contract";
import { expect, test } from "vitest";
import { Kept } from "./testing/kept.ts";
import { ScriptedServer } from "./testing/scripted-server.ts";

const QUICK = { patience: { askNickMs: 20 } };

test("a nickname that services force on us is followed and reported, and ours is asked back", async () => {
  let isHeld = true;
  await using server = await ScriptedServer.listen({
    on: (line, client) => {
      if (line !== "NICK alice" || !isHeld || client.lines.filter((one) => one === line).length < 2)
        return false;
      client.numeric("433", "alice :Nickname is already in use");
      return true;
    },
  });
  await using kept = await Kept.open({ port: server.port, connector: QUICK });
  await kept.becomes("connected");
  const { client } = server;
  client.send(`:${client.mask} NICK :Guest4821`);
  client.nick = "Guest4821";
  await until("it is told", () => kept.host.states.at(-1)?.message.includes("as Guest4821") === true);
  expect(kept.host.states.at(-1)).toMatchObject({
    state: "connected",
    message: "Connected to testnet as Guest4821, which the network gave us; alice is asked back.",
  });
  expect(kept.connection.self?.name).toBe("Guest4821");
  client.send(":bob!b@h PRIVMSG Guest4821 :it is you", `:${client.mask} PRIVMSG #room :mine`);
  await until("both", () => kept.texts().length === 2);
  expect(kept.host.events.at(-1)?.payload.sender).toMatchObject({ name: "Guest4821", is_self: true });
  await until("it is asked back", () => client.lines.filter((line) => line === "NICK alice").length >= 3);
  isHeld = false;
  await until(
    "it is ours again",
    () => kept.host.states.at(-1)?.message === "Connected to testnet as alice.",
  );
});

test("asking back slows down, and ends for a nickname that the server does not take", async () => {
  await using server = await ScriptedServer.listen({
    on: (line, client) => {
      if (line !== "NICK alice") return false;
      const tries = client.lines.filter((one) => one === line).length;
      if (tries < 2) client.send(":irc.test.invalid 433 * alice :Nickname is already in use");
      else if (tries < 5) client.numeric("433", "alice :Nickname is already in use");
      else client.numeric("432", "alice :Erroneous Nickname: Reserved for services");
      return true;
    },
  });
  await using kept = await Kept.open({ port: server.port, connector: QUICK });
  expect(await kept.becomes("connected")).toContain("as alice_, as alice is taken and asked back");
  const began = performance.now();
  await until("it is not asked any more", () =>
    kept.host.states.some(({ message }) => message.includes("does not take alice (432")),
  );
  expect(performance.now() - began).toBeGreaterThan(100);
  const asked = server.client.lines.length;
  server.client.send(":alice!a@h QUIT :gone", ":bob!b@h PRIVMSG #room :later");
  await until("later", () => kept.texts().includes("later"));
  await kept.say("after it");
  expect(server.client.lines.slice(asked).filter((line) => line.startsWith("NICK"))).toEqual([]);
});

test.each([
  ["tells its limit", ["NICKLEN=9"], "averylong"],
  ["does not tell its limit", [], "averylong"],
  ["allows more than nine", ["NICKLEN=12"], "averylongnic"],
])("a nickname that the server shortens is ours, where it %s", async (_, tokens, short) => {
  await using server = await ScriptedServer.listen({
    tokens,
    shortenTo: short.length,
  });
  await using kept = await Kept.open({
    port: server.port,
    settings: { nick: "averylongnickname" },
    connector: QUICK,
  });
  expect(await kept.becomes("connected")).toBe(
    `Connected to testnet as ${short} (the server shortens averylongnickname).`,
  );
  await kept.say("one");
  await kept.say("two");
  expect(server.client.lines.filter((line) => line.startsWith("NICK"))).toEqual(["NICK averylongnickname"]);
});

test("another person's shorter nickname is not ours", async () => {
  await using server = await ScriptedServer.listen({ tokens: ["NICKLEN=30"] });
  await using kept = await Kept.open({ port: server.port, settings: { nick: "averylongnickname" } });
  await kept.becomes("connected");
  server.client.send(`:${server.client.mask} NICK :averylong`);
  await until("it is told", () => kept.host.states.at(-1)?.message.includes("is asked back") === true);
});

test.each(["433", "436", "437"])("%s at registration is worked around", async (numeric) => {
  await using server = await ScriptedServer.listen({
    on: (line, client) => {
      if (line !== "NICK alice") return false;
      client.send(`:irc.test.invalid ${numeric} * alice :Not now`);
      return true;
    },
  });
  await using kept = await Kept.open({ port: server.port });
  expect(await kept.becomes("connected")).toContain("as alice_");
});

test("a nickname that the network replaces by a number is ours, and the one we had is not, until it is again", async () => {
  await using server = await ScriptedServer.listen({
    caps: ["echo-message"],
    on: (line, client) => {
      const isText = line.startsWith("PRIVMSG #room");
      if (isText) client.send(`:042AAEL37!u@h ${line}`);
      return isText || (line === "NICK alice" && client.nick === "alice");
    },
  });
  await using kept = await Kept.open({ port: server.port });
  await kept.becomes("connected");
  const { client } = server;
  client.send(
    `:irc.test.invalid 043 alice 042AAEL37 :Nick collision, forcing nick change to your unique ID`,
    ":alice!u@h NICK :042AAEL37",
    ":carol!c@h JOIN #room",
    ":carol!c@h NICK :alice",
    ":alice!c@h PRIVMSG #room :I am carol",
  );
  await until("the number", () => kept.connection.self?.name === "042AAEL37");
  await kept.say("I am alice");
  await until("what carol says", () => kept.texts().length > 0);
  expect(kept.texts()).toEqual(["I am carol"]);
  const [said] = kept.host.events.filter(({ payload }) => payload.kind === "message");
  expect(said?.payload.sender.is_self).toBe(false);
  client.send(":alice!c@h NICK :dave", ":042AAEL37!u@h NICK :alice");
  await until("alice again", () => kept.connection.self?.name === "alice");
});

/** Logging in: SASL and NickServ need services, which no packaged server brings, so a scripted server plays them. */
import { until } from "@linkspan/daemon-kit/contract";
import { expect, test } from "vitest";
import { Kept } from "./testing/kept.ts";
import { type ScriptedClient, type ScriptOptions, ScriptedServer } from "./testing/scripted-server.ts";

const PASSWORD = "correct horse";

/** Takes `account` with the password, or any certificate. */
function services(caps = ["sasl=PLAIN,EXTERNAL"]): ScriptOptions {
  const accept = (client: ScriptedClient, account: string) => {
    client.numeric("900", `${client.mask} ${account} :You are now logged in`);
    client.numeric("903", ":SASL authentication successful");
  };
  return {
    caps,
    on: (line, client) => {
      const [command, argument = ""] = line.split(" ");
      if (command !== "AUTHENTICATE") return false;
      if (argument === "PLAIN" || argument === "EXTERNAL") client.send("AUTHENTICATE +");
      else if (argument === "+") accept(client, "by-certificate");
      else {
        const [, account = "", password] = Buffer.from(argument, "base64").toString("utf8").split("\0");
        if (password === PASSWORD) accept(client, account);
        else client.numeric("904", ":SASL authentication failed");
      }
      return true;
    },
  };
}

/** SASL is offered, and no password is good. */
function refusing(): ScriptOptions {
  return {
    caps: ["sasl=PLAIN"],
    on: (line, client) => {
      if (line === "AUTHENTICATE PLAIN") client.send("AUTHENTICATE +");
      else if (line.startsWith("AUTHENTICATE")) client.numeric("904", ":SASL authentication failed");
      return line.startsWith("AUTHENTICATE");
    },
  };
}

test("SASL PLAIN with the account of the settings and the password of the vault", async () => {
  await using server = await ScriptedServer.listen(services());
  const settings = { sasl: { mechanism: "PLAIN", account: "alice-account" } };
  await using kept = await Kept.open({ port: server.port, settings, secrets: { password: PASSWORD } });
  expect(await kept.becomes("connected")).toBe("Connected to testnet as alice.");
  const [, sent = ""] = server.client.lines.filter((line) => line.startsWith("AUTHENTICATE"));
  expect(Buffer.from(sent.split(" ")[1] ?? "", "base64").toString("utf8")).toBe(
    `alice-account\0alice-account\0${PASSWORD}`,
  );
  expect(server.client.lines.indexOf(sent)).toBeLessThan(server.client.lines.indexOf("CAP END"));
});

test("SASL EXTERNAL sends no password", async () => {
  await using server = await ScriptedServer.listen(services());
  await using kept = await Kept.open({ port: server.port, settings: { sasl: { mechanism: "EXTERNAL" } } });
  await kept.becomes("connected");
  const sent = server.client.lines.filter((line) => line.startsWith("AUTHENTICATE"));
  expect(sent).toEqual(["AUTHENTICATE EXTERNAL", "AUTHENTICATE +"]);
});

test("a wrong password asks a person, once, and nobody is seen without the login", async () => {
  await using server = await ScriptedServer.listen(services());
  const settings = { sasl: { account: "alice" }, nickserv: {} };
  await using kept = await Kept.open({ port: server.port, settings, secrets: { password: "wrong" } });
  expect(await kept.becomes("bad_credentials")).toContain("wrong account or password");
  expect(kept.host.states.at(-1)?.code).toBe("platform.auth_expired");
  expect(server.clients).toHaveLength(1);
  expect(server.client.lines).not.toContain("JOIN #room");
});

/** Nobody is ever seen without the login, whatever the reason. */
const seen = (server: ScriptedServer): readonly string[] =>
  server.clients.flatMap(({ lines }) => lines).filter((line) => line.startsWith("JOIN"));

test("a login that cannot be tried refuses the link; it is not skipped", async () => {
  for (const caps of [[], ["sasl=EXTERNAL"], ["multi-prefix"]]) {
    for (const settings of [{ sasl: { account: "alice" } }, {}]) {
      await using server = await ScriptedServer.listen(services(caps));
      const outcome = await Kept.link({ port: server.port, settings, secrets: { password: PASSWORD } });
      expect(outcome).toMatchObject({ status: "failed", code: "platform.unavailable" });
      expect(outcome).toMatchObject({
        message: expect.stringMatching(/could not be tried .*does not offer/) as string,
      });
      expect(seen(server)).toEqual([]);
    }
  }
});

test.each([
  [{ sasl: { mechanism: "EXTERNAL" } }, {}, /certificate: /],
  [{ sasl: { account: "alice" } }, {}, /password: /],
  [{ nickserv: {} }, {}, /password: /],
])("a login without what it needs, %j, refuses the link and names it", async (settings, secrets, named) => {
  await using server = await ScriptedServer.listen(services());
  const linking = Kept.link({ port: server.port, settings, secrets });
  await expect(linking).rejects.toMatchObject({
    code: "request.invalid",
    message: expect.stringMatching(named) as string,
  });
  expect(server.clients).toHaveLength(0);
});

test("a link is the login and nothing else", async () => {
  await using server = await ScriptedServer.listen(services());
  const secrets = { password: PASSWORD };
  expect(await Kept.link({ port: server.port, secrets })).toEqual({
    status: "linked",
    remote: "testnet/alice",
    name: "alice",
  });
  expect(seen(server)).toEqual([]);
  const wrong = { port: server.port, secrets: { password: "wrong" } };
  expect(await Kept.link(wrong)).toMatchObject({ status: "failed", code: "platform.auth_expired" });
});

test.each([
  ["has another password", ":Password incorrect.", "platform.auth_expired"],
  ["knows no such account", ":alice is not registered.", "platform.auth_expired"],
  ["says nothing", undefined, "platform.unavailable"],
])("a link fails where NickServ %s", async (_, answer, code) => {
  await using server = await ScriptedServer.listen({
    on: (line, client) => {
      if (!line.startsWith("PRIVMSG NickServ")) return false;
      const reminder =
        ":This nickname is registered. Please choose a different one, or identify via /msg NickServ";
      for (const text of [reminder, ...(answer === undefined ? [] : [answer])]) {
        client.send(`:NickServ!s@services. NOTICE ${client.nick} ${text}`);
      }
      return true;
    },
  });
  const outcome = await Kept.link({
    port: server.port,
    settings: { nickserv: {} },
    secrets: { password: PASSWORD },
    // Only silence is waited out; an answer is not to be late on a busy machine.
    ...(answer === undefined && { connector: { patience: { identifyMs: 50 } } }),
  });
  expect(outcome).toMatchObject({ status: "failed", code });
});

test("nickname and password without an account: the account is called like the nickname", async () => {
  await using server = await ScriptedServer.listen(services());
  await using kept = await Kept.open({ port: server.port, secrets: { password: PASSWORD } });
  await kept.becomes("connected");
  const [, sent = ""] = server.client.lines.filter((line) => line.startsWith("AUTHENTICATE"));
  expect(Buffer.from(sent.split(" ")[1] ?? "", "base64").toString("utf8")).toBe(`alice\0alice\0${PASSWORD}`);
});

/** How a network's login may fail once, at a reconnect, without being wrong. */
const TROUBLES: readonly (readonly [string, ScriptOptions])[] = [
  ["SASL is missing from CAP LS", { caps: [] }],
  ["SASL is missing, other capabilities are there", { caps: ["multi-prefix"] }],
  ["the mechanism has changed", { caps: ["sasl=SCRAM-SHA-256"] }],
  ...[
    "902 alice :You must use a nick assigned to you",
    "904 alice :SASL authentication failed",
    "904 alice :SASL authentication timed out",
    "906 alice :SASL authentication aborted",
    "908 alice SCRAM-SHA-256 :are available SASL mechanisms",
  ].map(
    (numeric) =>
      [
        `AUTHENTICATE is answered by ${numeric}`,
        {
          caps: ["sasl=PLAIN"],
          on: (line: string, client: ScriptedClient) => {
            if (line.startsWith("AUTHENTICATE")) client.send(`:irc.test.invalid ${numeric}`);
            return line.startsWith("AUTHENTICATE");
          },
        },
      ] as const,
  ),
  ["AUTHENTICATE is never answered", { caps: ["sasl=PLAIN"], on: (line) => line.startsWith("AUTHENTICATE") }],
];

test.each(TROUBLES)(
  "temporary is not final: %s at a reconnect, and it is tried again",
  async (_, trouble) => {
    let options: ScriptOptions = services();
    await using server = await ScriptedServer.listen(() => options);
    await using kept = await Kept.open({
      port: server.port,
      secrets: { password: PASSWORD },
      connector: { patience: { registerMs: 300 } },
    });
    await kept.becomes("connected");
    options = trouble;
    server.client.drop();
    await until("it says so", () =>
      kept.host.states.some(({ message }) => message.includes("login does not work just now")),
    );
    const told = kept.host.states.find(({ message }) => message.includes("login does not work just now"));
    expect(told).toMatchObject({ state: "transient_disconnect", code: "platform.unavailable" });
    expect(told?.retryAt).toBeInstanceOf(Date);
    options = services();
    await until("it is back", () => kept.host.states.at(-1)?.state === "connected");
    expect(kept.host.states.some(({ state }) => state === "bad_credentials")).toBe(false);
  },
);

test("a login that has worked is given up when it is refused again and again, also after a restart", async () => {
  for (const checkpoint of [undefined, { at: "2026-11-20T11:34:00.000Z" }]) {
    let options: ScriptOptions = services();
    await using server = await ScriptedServer.listen(() => options);
    if (checkpoint !== undefined) options = refusing();
    await using kept = await Kept.open({ port: server.port, secrets: { password: PASSWORD }, checkpoint });
    if (checkpoint === undefined) {
      await kept.becomes("connected");
      options = refusing();
      server.client.drop();
    }
    await kept.becomes("bad_credentials");
    const doubted = kept.host.states.filter(({ message }) => message.includes("it has worked before"));
    expect(doubted).toHaveLength(2);
  }
});

test("NickServ that is away is asked again, and the state says that the login is open", async () => {
  let isThere = false;
  await using server = await ScriptedServer.listen({
    on: (line, client) => {
      if (!line.startsWith("PRIVMSG NickServ")) return false;
      if (isThere) client.numeric("900", `${client.mask} alice :You are now logged in`);
      else client.numeric("401", "NickServ :No such nick");
      return true;
    },
  });
  await using kept = await Kept.open({
    port: server.port,
    settings: { nickserv: {} },
    secrets: { password: PASSWORD },
    connector: { patience: { identifyAgainMs: 20 } },
  });
  expect(await kept.becomes("connected")).toContain("NickServ has not answered the login");
  isThere = true;
  const asked = () => server.client.lines.filter((line) => line.includes("IDENTIFY")).length;
  await until("it is asked again", () => asked() >= 2);
  await until(
    "the state says so",
    () => kept.host.states.at(-1)?.message === "Connected to testnet as alice.",
  );
});

test("a server password is not tried as an account's", async () => {
  await using server = await ScriptedServer.listen(services());
  await using kept = await Kept.open({ port: server.port, secrets: { server_password: "let me in" } });
  await kept.becomes("connected");
  expect(server.client.lines).toContain("PASS :let me in");
  expect(server.client.lines.some((line) => line.startsWith("AUTHENTICATE"))).toBe(false);
});

test("NickServ gets the password where SASL is not offered, before channels are joined, and no event shows it", async () => {
  await using server = await ScriptedServer.listen({
    caps: ["echo-message"],
    on: (line, client) => {
      if (!line.startsWith("PRIVMSG NickServ")) return false;
      client.send(
        `:${client.mask} ${line}`,
        `:NickServ!services@services. NOTICE ${client.nick} :You are now identified`,
      );
      client.numeric("900", `${client.mask} alice :You are now logged in`);
      return true;
    },
  });
  const settings = { sasl: { account: "alice" }, nickserv: {} };
  await using kept = await Kept.open({ port: server.port, settings, secrets: { password: PASSWORD } });
  await kept.becomes("connected");
  const { lines } = server.client;
  const identified = lines.indexOf(`PRIVMSG NickServ :IDENTIFY alice ${PASSWORD}`);
  expect(identified).toBeGreaterThan(0);
  expect(identified).toBeLessThan(lines.indexOf("JOIN #room"));
  await until("NickServ's answer", () => kept.texts().length > 0);
  expect(kept.texts()).toEqual(["You are now identified"]);
  expect(JSON.stringify([kept.host.events, kept.host.states])).not.toContain(PASSWORD);
});

test.each([
  ["a service with its server", "NickServ@services.test", "NickServ"],
  ["a service that the server names in full", "NickServ", "NickServ@services.test"],
])("no event shows a login, though its echo names another target: %s", async (_, service, shown) => {
  await using server = await ScriptedServer.listen({
    caps: ["echo-message"],
    on: (line, client) => {
      if (!line.startsWith("PRIVMSG NickServ")) return false;
      const words = line.slice(line.indexOf(" :"));
      client.send(`:${client.mask} PRIVMSG ${shown}${words}`);
      client.send(`:NickServ!s@services.test NOTICE ${client.nick} :You are now identified`);
      return true;
    },
  });
  const settings = { nickserv: { service } };
  await using kept = await Kept.open({ port: server.port, settings, secrets: { password: PASSWORD } });
  await kept.becomes("connected");
  server.client.send(":bob!b@h PRIVMSG #room :later");
  await until("what came later", () => kept.texts().includes("later"));
  expect(JSON.stringify(kept.host.events)).not.toContain(PASSWORD);
});

test("no event shows a login that a bouncer or a history repeats", async () => {
  await using server = await ScriptedServer.listen({
    caps: ["batch", "server-time", "message-tags", "draft/chathistory"],
  });
  await using kept = await Kept.open({
    port: server.port,
    settings: { nickserv: {} },
    secrets: { password: PASSWORD },
    connector: { patience: { identifyMs: 50 } },
  });
  await kept.becomes("connected");
  const { client } = server;
  const login = `:${client.mask} PRIVMSG NickServ :IDENTIFY ${PASSWORD}`;
  client.send(`@time=2026-11-20T11:34:00.000Z ${login}`, "BATCH +h chathistory NickServ");
  client.send(`@batch=h;msgid=m1;time=2026-11-20T11:34:00.000Z ${login}`, "BATCH -h");
  client.send(":bob!b@h PRIVMSG #room :later");
  await until("what came later", () => kept.texts().includes("later"));
  expect(JSON.stringify(kept.host.events)).not.toContain(PASSWORD);
});

test("a password that fits no line to NickServ is a refusal with words, at a link and later; nothing is cut", async () => {
  const secrets = { password: "x".repeat(390) };
  await using server = await ScriptedServer.listen();
  await expect(Kept.link({ port: server.port, settings: { nickserv: {} }, secrets })).rejects.toMatchObject({
    code: "request.invalid",
    message: expect.stringMatching(/password: .*too long for one line to NickServ/) as string,
  });
  expect(server.clients).toHaveLength(0);
  await using kept = await Kept.open({ port: server.port, settings: { nickserv: {} }, secrets });
  expect(await kept.becomes("bad_credentials")).toContain("too long for one line to NickServ");
  expect(server.client.lines.some((line) => line.includes("IDENTIFY"))).toBe(false);
});

test.each([300 - 12, 300 - 11, 400])(
  "SASL takes a password of %i bytes, in as many lines as it needs",
  async (bytes) => {
    const password = "p".repeat(bytes);
    let given = "";
    await using server = await ScriptedServer.listen({
      caps: ["sasl=PLAIN"],
      on: (line, client) => {
        const [command, argument = ""] = line.split(" ");
        if (command !== "AUTHENTICATE") return false;
        if (argument === "PLAIN") {
          client.send("AUTHENTICATE +");
          return true;
        }
        expect(argument.length).toBeLessThanOrEqual(400);
        if (argument !== "+") given += argument;
        if (argument.length === 400) return true;
        const isGood = Buffer.from(given, "base64").toString() === `alice\0alice\0${password}`;
        client.numeric(isGood ? "903" : "904", ":done");
        return true;
      },
    });
    await using kept = await Kept.open({ port: server.port, secrets: { password } });
    await kept.becomes("connected");
  },
);

test("a nickname held by a ghost is asked back from NickServ", async () => {
  let ghost = true;
  await using server = await ScriptedServer.listen({
    on: (line, client) => {
      if (line === "NICK alice" && ghost) {
        client.send(":irc.test.invalid 433 * alice :Nickname is already in use");
        return true;
      }
      return false;
    },
  });
  await using kept = await Kept.open({
    port: server.port,
    settings: { nickserv: { account: "alice" } },
    secrets: { password: PASSWORD },
    connector: { patience: { identifyMs: 50 } },
  });
  expect(await kept.becomes("connected")).toContain("as alice_, as alice is taken");
  await until("it is asked back", () =>
    server.client.lines.includes(`PRIVMSG NickServ :REGAIN alice ${PASSWORD}`),
  );
  ghost = false;
  server.client.send(":NickServ!s@services. NOTICE alice_ :The ghost is gone");
  await until("alice again", () => kept.connection.self?.name === "alice");
});

test("a nickname that the server does not take is a sentence, not a loop", async () => {
  await using server = await ScriptedServer.listen({
    on: (line, client) => {
      if (!line.startsWith("NICK ")) return false;
      client.send(`:irc.test.invalid 432 * alice :Erroneous nickname`);
      return true;
    },
  });
  await using kept = await Kept.open({ port: server.port });
  expect(await kept.becomes("bad_credentials")).toContain("does not take the nickname alice");
  expect(server.clients).toHaveLength(1);
});

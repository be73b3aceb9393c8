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

test("without SASL and without NickServ a configured login is not given up silently", async () => {
  for (const caps of [[], ["sasl=EXTERNAL"], ["multi-prefix"]]) {
    await using server = await ScriptedServer.listen(services(caps));
    const settings = { sasl: { account: "alice" } };
    await using kept = await Kept.open({ port: server.port, settings, secrets: { password: PASSWORD } });
    expect(await kept.becomes("bad_credentials")).toMatch(/does not offer/);
    expect(server.client.lines).not.toContain("JOIN #room");
  }
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

test("a nickname held by a ghost is asked back from NickServ", async () => {
  let ghost = true;
  await using server = await ScriptedServer.listen({
    on: (line, client) => {
      if (line === "NICK alice" && ghost) {
        client.send(":irc.test.invalid 433 * alice :Nickname is already in use");
        return true;
      }
      if (line.startsWith("PRIVMSG NickServ :REGAIN")) {
        ghost = false;
        client.send(`:NickServ!s@services. NOTICE ${client.nick} :The ghost is gone`);
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
  await until("alice again", () => kept.connection.self?.name === "alice");
  expect(server.client.lines).toContain(`PRIVMSG NickServ :REGAIN alice ${PASSWORD}`);
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

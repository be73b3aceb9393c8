import { expect, test } from "vitest";
import { describeWithServers } from "./available.ts";
import { startInspircd } from "./inspircd.ts";
import { IrcClient } from "./irc-client.ts";
import { leftoversOf } from "./leftovers.ts";
import { startNgircd } from "./ngircd.ts";
import { until } from "./until.ts";

const FLOOD = 2_000;

const SERVERS = [
  {
    name: "inspircd",
    start: () => startInspircd(),
    strict: () => startInspircd({ strict: true }),
    perAddress: 3,
  },
  { name: "ngircd", start: () => startNgircd(), strict: () => startNgircd({ strict: true }), perAddress: 5 },
] as const;

for (const { name, start, strict, perAddress } of SERVERS) {
  describeWithServers([name], `the ${name} of the tests`, () => {
    test("carries a flood in order, also over TLS, comes back after SIGKILL and leaves nothing", async () => {
      const server = await start();
      using alice = await IrcClient.connect({ port: server.port, nick: "alice" });
      using bob = await IrcClient.connect({ port: server.tlsPort, nick: "bob", ca: server.ca });
      alice.say("JOIN #room");
      await alice.expect(/ 366 alice #room /);
      bob.say("JOIN #room");
      await bob.expect(/ 366 bob #room /);
      alice.say(...Array.from({ length: FLOOD }, (_, index) => `PRIVMSG #room :line ${index}`));
      await bob.expect(new RegExp(`PRIVMSG #room :line ${FLOOD - 1}$`));
      const heard = bob.lines.flatMap((line) => /PRIVMSG #room :line (\d+)$/.exec(line)?.[1] ?? []);
      expect(heard).toEqual(Array.from({ length: FLOOD }, (_, index) => String(index)));

      await server.kill();
      await until(() => alice.closed && bob.closed, { what: "both clients to lose their connection" });
      await server.start();
      using again = await IrcClient.connect({ port: server.port, nick: "alice" });
      expect(again.closed).toBe(false);
      expect(await leftoversOf(server)).toEqual([]);
    });

    test("bans, unbans and ejects as an operator", async () => {
      await using server = await start();
      using victim = await IrcClient.connect({ port: server.port, nick: "victim" });
      await server.eject("victim", "go away");
      await until(() => victim.closed, { what: "the victim to be ejected" });
      expect(victim.lines.join("\n")).toContain("go away");

      await server.ban("*@127.0.0.1", "K-lined for the test");
      await expect(IrcClient.connect({ port: server.port, nick: "victim" })).rejects.toThrow(
        "K-lined for the test",
      );
      await server.unban("*@127.0.0.1");
      using back = await IrcClient.connect({ port: server.port, nick: "victim" });
      expect(back.closed).toBe(false);
    });

    test("strict: refuses one connection too many from an address", async () => {
      await using server = await strict();
      const clients = [];
      for (let index = 0; index < perAddress; index++) {
        clients.push(await IrcClient.connect({ port: server.port, nick: `n${index}` }));
      }
      await expect(IrcClient.connect({ port: server.port, nick: "extra" })).rejects.toThrow(
        /not registered|ECONN/,
      );
      for (const client of clients) client[Symbol.dispose]();
    });
  });
}

describeWithServers(["inspircd"], "InspIRCd's options", () => {
  const capabilities = ["message-tags", "server-time", "echo-message", "labeled-response", "batch"];

  test("offers the IRCv3 capabilities, and not those left out", async () => {
    await using server = await startInspircd({ without: ["ircv3_echomessage"] });
    using client = await IrcClient.connect({ port: server.port, nick: "alice" });
    client.say("CAP LS 302");
    const offered = await client.expect(/ CAP \S+ LS /);
    for (const capability of capabilities) {
      if (capability === "echo-message") expect(offered).not.toContain(capability);
      else expect(offered).toContain(capability);
    }
  });

  test("echoes with label, time and message id", async () => {
    await using server = await startInspircd();
    using client = await IrcClient.connect({ port: server.port, nick: "alice", capabilities });
    client.say("JOIN #room", "@label=L1 PRIVMSG #room :hello");
    const echo = await client.expect(/PRIVMSG #room :hello/);
    expect(echo).toMatch(/label=L1/);
    expect(echo).toMatch(/time=/);
    expect(echo).toMatch(/msgid=/);
  });

  test("takes new configuration while it runs, and refuses a broken one", async () => {
    await using server = await startInspircd();
    await server.configure('<badnick nick="mallory" reason="not you">');
    await expect(IrcClient.connect({ port: server.port, nick: "mallory" })).rejects.toThrow("not you");
    await expect(server.configure('<badnick nick="')).rejects.toThrow("refused");
  });
});

/** The IRC connector against servers that others wrote, with a peer that shares no code with it. */
import { X509Certificate } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ContractPeer, connectorContract, RecordingHost } from "@linkspan/daemon-kit/contract";
import { ircConnector } from "@linkspan/daemon-irc";
import { UncertainSend } from "@linkspan/daemon-kit";
import { InboundEventSchema } from "@linkspan/envelopes";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Linked, linkedIdentity, openWindow } from "../peers/irc/linked.ts";
import { IrcPeer } from "../peers/irc/peer.ts";
import { describeWithServers } from "../servers/available.ts";
import { createAuthority } from "../servers/certificates.ts";
import { startFaultProxy } from "../servers/fault-proxy.ts";
import { type InspircdServer, startInspircd } from "../servers/inspircd.ts";
import { type NgircdServer, startNgircd } from "../servers/ngircd.ts";

type AnyServer = InspircdServer | NgircdServer;

/** Names of its own for every test, so that they can share a server. */
let count = 0;
const fresh = (): { nick: string; other: string; room: string } => {
  count += 1;
  return { nick: `alice${count}`, other: `bob${count}`, room: `#room${count}` };
};

const SAMODE = '<module name="samode">';

const SERVERS = [
  ["inspircd", () => startInspircd({ config: SAMODE })],
  ["ngircd", () => startNgircd()],
] as const;

for (const [name, start] of SERVERS) {
  describeWithServers([name], `irc on ${name}`, () => {
    let server: AnyServer;
    beforeAll(async () => {
      server = await start();
    });
    afterAll(async () => {
      await server[Symbol.asyncDispose]();
    });

    const meet = async (settings: Readonly<Record<string, unknown>> = {}) => {
      const { nick, other, room } = fresh();
      const peer = await IrcPeer.connect({ port: server.port, nick: other });
      await peer.join(room);
      const linked = await Linked.connected({
        port: server.port,
        nick,
        settings: { channels: [room], ...settings },
      });
      await peer.sees(nick, room);
      return { nick, other, room, peer, linked, conversation: linked.channel(room) };
    };

    connectorContract(name, async () => {
      const { nick, other, room } = fresh();
      const proxy = await startFaultProxy({ port: server.port });
      const chatter = await IrcPeer.connect({ port: server.port, nick: other });
      await chatter.join(room);
      const peer: ContractPeer = {
        say: async (text) => {
          await chatter.say(room, text);
          await chatter.settled();
        },
        heard: () => chatter.heardFrom(nick, room),
        drop: () => Promise.resolve(proxy.cut()),
      };
      const identity = linkedIdentity({ port: proxy.port, nick, settings: { channels: [room] } });
      return {
        connector: ircConnector({ privateHosts: true, retry: { firstMs: 50, maxMs: 200 } }),
        identity,
        conversation: `msgr://channels/ws/bridge/irc/testnet/${encodeURIComponent(room)}`,
        peer,
        [Symbol.asyncDispose]: async () => {
          await chatter[Symbol.asyncDispose]();
          await proxy[Symbol.asyncDispose]();
        },
      };
    });

    test("without services a login refuses the link, and an identity waits for them unseen", async () => {
      const { nick, other, room } = fresh();
      await using peer = await IrcPeer.connect({ port: server.port, nick: other });
      await peer.join(room);
      const secrets = { password: Buffer.from("anything") };
      const options = { port: server.port, nick, secrets, settings: { channels: [room] } };
      const connector = ircConnector({ privateHosts: true });
      const outcome = await connector.link?.(linkedIdentity(options), new RecordingHost(secrets));
      expect(outcome).toMatchObject({ status: "failed", code: "platform.unavailable" });
      await using linked = await Linked.open(options);
      await linked.sees("a second try", () => {
        const waits = linked.host.states.filter(({ message }) =>
          message.includes("login does not work just now"),
        );
        return waits.length >= 2;
      });
      expect(linked.host.states.some(({ state }) => state === "bad_credentials")).toBe(false);
      await peer.settled();
      expect(peer.presence.filter((one) => one.nick === nick)).toEqual([]);
    });

    test("a server password of two lines is refused by its name, and others stay connected", async () => {
      const { room, peer, linked, conversation } = await meet();
      await using _ = linked;
      const secrets = { server_password: Buffer.from("let me in\r\nQUIT :injected") };
      const options = { port: server.port, nick: fresh().nick, secrets };
      await expect(Linked.open(options)).rejects.toMatchObject({ code: "request.invalid" });
      await linked.say(conversation, "undisturbed");
      await peer.until(() =>
        peer.heardFrom(linked.connection.self?.name ?? "", room).includes("undisturbed"),
      );
      await peer[Symbol.asyncDispose]();
    });

    test("who is named with the letters that servers fold is answered", async () => {
      const { linked, peer } = await meet();
      await using _ = linked;
      await using odd = await IrcPeer.connect({ port: server.port, nick: `bob^[${count}]` });
      await odd.say(linked.connection.self?.name ?? "", "hello");
      await linked.sees("it", () => linked.host.texts().includes("hello"));
      const { conversation = "" } = linked.host.events.at(-1) ?? {};
      await linked.say(conversation, "hello yourself");
      await odd.until(() => odd.heard.some(({ text }) => text === "hello yourself"));
      await peer[Symbol.asyncDispose]();
    });

    test("formatting, actions and notices arrive as they were meant, both ways", async () => {
      const { nick, room, peer, linked, conversation } = await meet();
      await using _ = linked;
      await peer.say(room, "plain \x02bold\x02 \x1Ditalic\x1D \x0304red\x03 \x0301,01secret\x03");
      peer.write(`PRIVMSG ${room} :\x01ACTION waves\x01`, `NOTICE ${room} :look`);
      await linked.sees("three events", () => linked.texts(conversation).length === 3);
      const [formatted, action, notice] = linked.host.events
        .filter(({ payload }) => payload.kind === "message")
        .map(({ payload }) => InboundEventSchema.parse(payload));
      expect(formatted).toMatchObject({
        text: "plain bold italic red secret",
        entities: [
          { type: "bold", offset: 6, length: 4 },
          { type: "italic", offset: 11, length: 6 },
          { type: "spoiler", offset: 22, length: 6 },
        ],
      });
      expect(action).toMatchObject({ text: "waves", native: { ctcp: "ACTION" } });
      expect(notice).toMatchObject({ text: "look", native: { command: "NOTICE" } });

      const entities = [{ type: "bold", offset: 0, length: 4 }];
      await linked.say(conversation, "bold words", { entities });
      await linked.say(conversation, "/me nods");
      await peer.until(() => peer.heardFrom(nick, room).length === 2);
      expect(peer.heardFrom(nick, room)).toEqual(["\x02bold\x02 words", "\x01ACTION nods\x01"]);
      await peer[Symbol.asyncDispose]();
    });

    test("long and multi-line text arrives whole, no line cut by the server", async () => {
      const { nick, room, peer, linked, conversation } = await meet();
      await using _ = linked;
      const long = Array.from({ length: 80 }, (_, index) => `Füße ${index} 🌉`).join(" ");
      await linked.say(conversation, `first\n\nsecond\r\n${long}`);
      await peer.until(() => peer.heardFrom(nick, room).join("").endsWith("79 🌉"));
      const [first, second, ...rest] = peer.heardFrom(nick, room);
      expect([first, second]).toEqual(["first", "second"]);
      expect(rest.join("")).toBe(long);
      for (const { raw } of peer.lines) expect(Buffer.byteLength(`${raw}\r\n`)).toBeLessThanOrEqual(512);
      await peer[Symbol.asyncDispose]();
    });

    test("errors of the server are certain failures with a code", async () => {
      const { nick, room, other, peer, linked, conversation } = await meet();
      await using _ = linked;
      await expect(linked.say(linked.query("nobodyhere"), "hello?")).rejects.toMatchObject({
        code: "platform.not_found",
      });
      await expect(linked.say(linked.channel("#nowhere"), "hello?")).rejects.toMatchObject({
        code: "platform.not_found",
      });
      await makeOperator(server, room, other);
      peer.write(`MODE ${room} +m`);
      await peer.settled();
      await expect(linked.say(conversation, "muted")).rejects.toMatchObject({ code: "platform.forbidden" });
      peer.write(`MODE ${room} -m`);
      await peer.settled();
      await linked.say(conversation, "heard again");
      await peer.until(() => peer.heardFrom(nick, room).includes("heard again"));
      expect(peer.heardFrom(nick, room)).toEqual(["heard again"]);
      await peer[Symbol.asyncDispose]();
    });

    test("a private query is a conversation of its account alone, both ways", async () => {
      const { nick, other, peer, linked } = await meet();
      await using _ = linked;
      await peer.say(nick, "between us");
      const query = linked.query(other);
      await linked.sees("the private message", () => linked.texts(query).includes("between us"));
      await linked.say(query, "of course");
      await peer.until(() => peer.heardFrom(nick, other).includes("of course"));
      await peer[Symbol.asyncDispose]();
    });

    test("no text, target, reply or reason can become another command", async () => {
      const { nick, room, peer, linked, conversation } = await meet();
      await using _ = linked;
      const evil = "a\r\nQUIT :b\nQUIT :c\rQUIT :d\0\r\nKICK\u0001DCC\u0001";
      await linked.say(conversation, evil, { reply_to: "x\r\nQUIT :e y;z" });
      await expect(linked.say(linked.query("x\r\nQUIT"), "f")).rejects.toMatchObject({
        code: "platform.not_found",
      });
      await expect(linked.say(linked.query("x,y"), "f")).rejects.toMatchObject({
        code: "platform.not_found",
      });
      const channels = ["#a\r\nQUIT", "#a b", "#a,#b", "0"];
      for (const channel of channels) {
        const action = { action: "join_channel", conversation: undefined, payload: { channel } };
        await expect(linked.act(action)).rejects.toMatchObject({ code: "platform.not_found" });
      }
      const leave = { channel: room, reason: "bye\r\nQUIT :g" };
      await linked.act({ action: "leave_channel", conversation: undefined, payload: leave });
      await peer.until(() => peer.presence.some((one) => one.nick === nick && one.change === "left"));
      await peer.settled();
      expect(peer.heardFrom(nick, room)).toEqual(["a", "QUIT :b", "QUIT :c", "QUIT :d", "KICKDCC"]);
      expect(peer.presence.filter((one) => one.nick === nick).map(({ how }) => how)).toEqual([
        "JOIN",
        "PART",
      ]);
      expect(linked.state?.state).toBe("connected");
      await peer[Symbol.asyncDispose]();
    });

    test("joins, topics, nicknames, kicks and quits are events; a kicked identity can be told so", async () => {
      const { nick, other, room, peer, linked, conversation } = await meet();
      await using _ = linked;
      await makeOperator(server, room, other);
      const third = `carol${count}`;
      await using carol = await IrcPeer.connect({ port: server.port, nick: third });
      await carol.join(room);
      carol.write(`NICK ${third}_`);
      peer.write(`MODE ${room} +n`, `TOPIC ${room} :about \x02this\x02`);
      await peer.settled();
      carol.write("QUIT :good night");
      await linked.sees("the quit", () => linked.texts(conversation, "membership").includes("quit"));
      peer.write(`KICK ${room} ${nick} :enough`);
      await linked.sees("the kick", () => linked.texts(conversation, "membership").includes("kick"));
      const changes = linked.host.events
        .filter(({ payload }) => payload.kind === "membership")
        .map(({ payload: { sender, text, native } }) => [sender.name, text, native?.["nick"] ?? ""]);
      expect(changes).toEqual([
        [nick, "join", ""],
        [third, "join", ""],
        [third, "nick", `${third}_`],
        [`${third}_`, "quit", ""],
        [other, "kick", nick],
      ]);
      expect(linked.texts(conversation, "channel")).toEqual(["about this"]);
      expect(linked.state?.message).toContain(`${other} kicked us from ${room} (enough)`);
      await expect(linked.say(conversation, "still here?")).rejects.toMatchObject({
        code: "platform.forbidden",
      });
      await peer[Symbol.asyncDispose]();
    });

    test("a taken nickname is worked around and taken back", async () => {
      const { nick, room } = fresh();
      const holder = await IrcPeer.connect({ port: server.port, nick });
      await holder.join(room);
      await using linked = await Linked.connected({
        port: server.port,
        nick,
        settings: { channels: [room] },
      });
      expect(linked.state?.message).toContain(`as ${nick}_, as ${nick} is taken`);
      await holder.sees(`${nick}_`, room);
      await holder[Symbol.asyncDispose]();
      await linked.sees("its nickname again", () => linked.connection.self?.name === nick);
    });

    test("channels are joined and left on request, and a refusal is a failure", async () => {
      const { nick, other, room, peer, linked } = await meet();
      await using _ = linked;
      const second = `${room}b`;
      await peer.join(second);
      const join = { action: "join_channel", conversation: undefined, payload: { channel: second } };
      await linked.act(join);
      await peer.sees(nick, second);
      await linked.say(linked.channel(second), "here too");
      await linked.act({ action: "leave_channel", conversation: undefined, payload: { channel: second } });
      await peer.until(() => !peer.wasThere(nick, second, performance.now()));
      await makeOperator(server, second, other);
      peer.write(`MODE ${second} +b ${nick}!*@*`);
      await peer.settled();
      await expect(linked.act(join)).rejects.toMatchObject({ code: "platform.forbidden" });
      await peer[Symbol.asyncDispose]();
    });

    test("what was written when the connection broke is in doubt; before that it is certain", async () => {
      const { nick, other, room } = fresh();
      await using proxy = await startFaultProxy({ port: server.port });
      await using peer = await IrcPeer.connect({ port: server.port, nick: other });
      await peer.join(room);
      await using linked = await Linked.connected({ port: proxy.port, nick, settings: { channels: [room] } });
      await peer.sees(nick, room);
      const conversation = linked.channel(room);
      await linked.say(conversation, "before");
      proxy.stall("down");
      const doubtful = linked.say(conversation, "in doubt");
      await peer.until(() => peer.heardFrom(nick, room).includes("in doubt"));
      proxy.refuse();
      await expect(doubtful).rejects.toBeInstanceOf(UncertainSend);
      await expect(linked.say(conversation, "while away")).rejects.toMatchObject({
        code: "platform.unavailable",
      });
      await linked.becomes("transient_disconnect");
      proxy.pass();
      await linked.becomes("connected");
      expect(linked.state?.message).toContain("is missing");
      await linked.say(conversation, "after");
      await peer.until(() => peer.heardFrom(nick, room).includes("after"));
      expect(peer.heardFrom(nick, room)).toEqual(["before", "in doubt", "after"]);
    });

    test("without a confirmation in its window a text is in doubt", async () => {
      const { nick, room } = fresh();
      await using proxy = await startFaultProxy({ port: server.port });
      await using linked = await Linked.connected({ port: proxy.port, nick, settings: { channels: [room] } });
      const conversation = linked.channel(room);
      await linked.say(conversation, "joined by now");
      proxy.stall("down");
      const action = { action: "outbound_message", conversation, payload: { text: "into silence" } };
      await expect(linked.act(action, 300)).rejects.toBeInstanceOf(UncertainSend);
      proxy.pass();
      await linked.say(conversation, "and on");
    });

    test("a connection that is open but deaf is noticed and replaced", async () => {
      const { nick, room } = fresh();
      await using proxy = await startFaultProxy({ port: server.port });
      const connector = { patience: { quietMs: 200, graceMs: 200 } };
      const settings = { channels: [room] };
      await using linked = await Linked.connected({ port: proxy.port, nick, settings, connector });
      proxy.stall("down");
      const lost = await linked.becomes("transient_disconnect");
      expect(lost.message).toContain("stopped answering");
      proxy.pass();
      await linked.becomes("connected");
    });

    test("a core that does not take events slows the server down; nothing is lost", async () => {
      const { room, peer, linked, conversation } = await meet();
      await using _ = linked;
      linked.host.hold();
      const said = Array.from({ length: 2_000 }, (_, index) => `number ${index}`);
      await peer.say(room, ...said);
      await linked.sees("the first", () => linked.texts(conversation).length > 0);
      expect(linked.host.mostUnresolved).toBe(1);
      linked.host.release();
      await linked.sees("all of them", () => linked.texts(conversation).length === said.length);
      expect(linked.texts(conversation)).toEqual(said);
      await peer[Symbol.asyncDispose]();
    });

    test("two thousand each way at once arrive once and in order", async () => {
      const { nick, room, peer, linked, conversation } = await meet();
      await using _ = linked;
      const texts = Array.from({ length: 2_000 }, (_text, index) => `number ${index}`);
      const saying = (async () => {
        for (const text of texts) await linked.say(conversation, text);
      })();
      for (let from = 0; from < texts.length; from += 100)
        await peer.say(room, ...texts.slice(from, from + 100));
      await saying;
      await linked.sees("all of the peer's", () => linked.texts(conversation).length >= texts.length);
      await peer.settled();
      expect(linked.texts(conversation)).toEqual(texts);
      expect(peer.heardFrom(nick, room)).toEqual(texts);
      await peer[Symbol.asyncDispose]();
    });

    test("one connection to a host at a time where no more are allowed, in turn", async () => {
      const { nick } = fresh();
      const connector = ircConnector({ privateHosts: true, connectionsPerHost: 1 });
      const first = await Linked.connected({ port: server.port, nick, through: connector });
      const second = await Linked.open({ port: server.port, nick: `${nick}b`, through: connector });
      const third = await Linked.open({ port: server.port, nick: `${nick}c`, through: connector });
      await third.sees("it waits its turn", () => third.state?.message.includes("1 wait before") === true);
      await first[Symbol.asyncDispose]();
      await second.becomes("connected");
      expect(third.state?.state).toBe("connecting");
      await second[Symbol.asyncDispose]();
      await third.becomes("connected");
      await third[Symbol.asyncDispose]();
    });

    test("TLS with an authority of its own; another's certificate is a sentence, not a connection", async () => {
      const { nick } = fresh();
      const settings = { host: "localhost", tls: { ca: server.ca } };
      await using linked = await Linked.connected({ port: server.tlsPort, nick, settings });
      expect(linked.state?.message).toBe(`Connected to testnet as ${nick}.`);
      await using other = await Linked.open({
        port: server.tlsPort,
        nick: `${nick}b`,
        settings: { host: "localhost", tls: true },
      });
      const refused = await other.becomes("unknown_error");
      expect(refused.message).toContain("certificate of localhost cannot be trusted");
    });

    test("a server that dies is waited for, and its channels are joined again", async () => {
      const { nick, room, linked, peer } = await meet();
      await using _ = linked;
      await peer[Symbol.asyncDispose]();
      await server.kill();
      const lost = await linked.becomes("transient_disconnect");
      expect(lost).toMatchObject({ code: "platform.unavailable" });
      expect(lost.retryAt).toBeInstanceOf(Date);
      await server.start();
      await linked.becomes("connected");
      expect(linked.state?.message).toMatch(/keeps no history, so what was said between .* is missing/);
      await using again = await IrcPeer.connect({ port: server.port, nick: `${nick}p` });
      await again.join(room);
      await again.sees(nick, room);
    });

    test("a banned identity says so in words", async () => {
      const { nick } = fresh();
      await using linked = await Linked.connected({ port: server.port, nick });
      await server.ban("*@127.0.0.1", "no robots here");
      const banned = await linked.becomes("logged_out");
      expect(banned.code).toBe("platform.forbidden");
      expect(banned.message).toMatch(/has banned this connection \(.*no robots here.*\)/);
      await using late = await Linked.open({ port: server.port, nick: `${nick}b` });
      expect((await late.becomes("logged_out")).message).toContain("no robots here");
      await server.unban("*@127.0.0.1");
    });
  });
}

async function makeOperator(server: AnyServer, room: string, nick: string): Promise<void> {
  // ngIRCd makes who comes first the operator of a channel; InspIRCd is told so here.
  if ("configure" in server) await server.operator([`SAMODE ${room} +o ${nick}`]);
}

describeWithServers(["inspircd"], "irc on inspircd with other capabilities", () => {
  const VARIANTS = [
    ["labels, without echoes", ["ircv3_echomessage"], /\.w\d+$/],
    ["echoes, without labels", ["ircv3_labeledresponse"], /~/],
    ["neither", ["ircv3_echomessage", "ircv3_labeledresponse"], /\.w\d+$/],
    ["neither ids nor tags", ["ircv3_msgid", "ircv3_labeledresponse", "ircv3_ctctags"], /\.w\d+$/],
  ] as const;

  for (const [what, without, id] of VARIANTS) {
    test(`a text is confirmed with ${what}`, async () => {
      await using server = await startInspircd({ without });
      const { nick, other, room } = fresh();
      await using peer = await IrcPeer.connect({ port: server.port, nick: other });
      await peer.join(room);
      await using linked = await Linked.connected({
        port: server.port,
        nick,
        settings: { channels: [room] },
      });
      const conversation = linked.channel(room);
      const said = [];
      for (const text of ["one", "two", "three"]) said.push(...(await linked.say(conversation, text)));
      expect(said).toHaveLength(3);
      for (const { remoteId } of said) expect(remoteId).toMatch(id);
      expect(new Set(said.map(({ remoteId }) => remoteId)).size).toBe(3);
      await expect(linked.say(linked.query("nobodyhere"), "?")).rejects.toMatchObject({
        code: "platform.not_found",
      });
      await peer.until(() => peer.heardFrom(nick, room).length === 3);
      expect(peer.heardFrom(nick, room)).toEqual(["one", "two", "three"]);
      await peer.say(room, "marker");
      await linked.sees("the marker", () => linked.texts(conversation).includes("marker"));
      expect(linked.texts(conversation)).toEqual(["marker"]);
    });
  }

  test("what the server replays after an absence closes the gap, and nothing comes twice", async () => {
    await using server = await startInspircd({ config: SAMODE });
    await using proxy = await startFaultProxy({ port: server.port });
    const { nick, other, room } = fresh();
    await using peer = await IrcPeer.connect({ port: server.port, nick: other });
    await peer.join(room);
    await server.operator([`SAMODE ${room} +o ${other}`]);
    peer.write(`MODE ${room} +H 50:1h`);
    await peer.settled();
    await using linked = await Linked.connected({ port: proxy.port, nick, settings: { channels: [room] } });
    const conversation = linked.channel(room);
    await peer.sees(nick, room);
    await linked.say(conversation, "mine");
    await peer.say(room, "before 1", "before 2");
    await linked.sees("both", () => linked.texts(conversation).length === 2);
    proxy.refuse();
    await linked.becomes("transient_disconnect");
    await peer.until(() => !peer.wasThere(nick, room, performance.now()));
    await peer.say(room, "meanwhile 1", "meanwhile 2");
    await peer.settled();
    proxy.pass();
    await linked.becomes("connected");
    await peer.sees(nick, room);
    await peer.say(room, "after");
    await linked.sees("the last", () => linked.texts(conversation).includes("after"));
    expect(linked.texts(conversation)).toEqual([
      "before 1",
      "before 2",
      "meanwhile 1",
      "meanwhile 2",
      "after",
    ]);
    const ids = linked.host.events.map(({ payload }) => `${payload.kind} ${payload.remote_id}`);
    expect(new Set(ids).size).toBe(ids.length);
  });

  test("a client certificate of the vault is shown to the server", async () => {
    await using server = await startInspircd();
    const { nick, other } = fresh();
    const directory = mkdtempSync(join(tmpdir(), "linkspan-irc-"));
    const { cert, key } = await (await createAuthority(directory)).issue("client");
    rmSync(directory, { recursive: true });
    await using peer = await IrcPeer.connect({ port: server.port, nick: other });
    await using linked = await Linked.connected({
      port: server.tlsPort,
      nick,
      settings: { host: "localhost", tls: { ca: server.ca } },
      secrets: { certificate: Buffer.from(cert), certificate_key: Buffer.from(key) },
    });
    peer.write(`WHOIS ${nick}`);
    const about: string[] = [];
    await peer.expect((line) => {
      about.push(`${line.command} ${line.params.at(-1)}`);
      return line.command === "318";
    });
    const fingerprint = new X509Certificate(cert).fingerprint256.replaceAll(":", "").toLowerCase();
    expect(about.join("\n")).toContain(fingerprint);
    expect(linked.state?.state).toBe("connected");
  });

  test("a part is never begun outside of its window", async () => {
    await using server = await startInspircd();
    const { nick, room } = fresh();
    await using linked = await Linked.connected({ port: server.port, nick, settings: { channels: [room] } });
    const action = {
      action: "outbound_message",
      name: "outbound_message",
      conversation: linked.channel(room),
    };
    const [part] = linked.connection.plan({ ...action, payload: { text: "late" } });
    if (part === undefined) throw new Error("no part");
    await expect(linked.connection.perform(part, "k", openWindow(-1))).rejects.toMatchObject({
      code: "platform.unavailable",
    });
  });
});

describeWithServers(["inspircd", "ngircd"], "irc on servers as strict as public ones", () => {
  for (const [name, start] of [
    ["inspircd", () => startInspircd({ strict: true })],
    ["ngircd", () => startNgircd({ strict: true })],
  ] as const) {
    test(`${name}: at the pace that is kept by default nobody is thrown out, and everything arrives`, async () => {
      await using server = await start();
      const { nick, other, room } = fresh();
      await using peer = await IrcPeer.connect({ port: server.port, nick: other });
      await peer.join(room);
      const settings = { channels: [room], pace: undefined };
      await using linked = await Linked.connected({ port: server.port, nick, settings });
      await peer.sees(nick, room);
      const said = Array.from({ length: 7 }, (_, index) => `${index} ${"x".repeat(300)}`);
      for (const text of said) await linked.say(linked.channel(room), text);
      await peer.until(() => peer.heardFrom(nick, room).length === said.length);
      expect(peer.heardFrom(nick, room)).toEqual(said);
      expect(linked.host.states.map(({ state }) => state)).toEqual(["connecting", "connected"]);
    });

    test(`${name}: too many connections from one address is a sentence, and a long wait`, async () => {
      await using server = await start();
      const { nick } = fresh();
      const others = await Promise.all(
        Array.from({ length: name === "ngircd" ? 5 : 3 }, (_, index) =>
          IrcPeer.connect({ port: server.port, nick: `o${index}` }),
        ),
      );
      await using linked = await Linked.open({ port: server.port, nick });
      const refused = await linked.becomes("transient_disconnect");
      expect(refused.message).toContain("no more connections from this address");
      expect(refused.retryAt?.getTime()).toBeGreaterThan(Date.now() + 60_000);
      for (const each of others) await each[Symbol.asyncDispose]();
    });
  }
});

describe("irc without a server", () => {
  test("a private address is refused in words unless the operator allows it", async () => {
    await using linked = await Linked.open({ port: 6667, nick: "alice", connector: { privateHosts: false } });
    const refused = await linked.becomes("unknown_error");
    expect(refused.message).toContain("private network");
  });
});

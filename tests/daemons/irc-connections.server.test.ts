/** Connections that break, wait or are refused, on servers that others wrote. */
import { ircConnector } from "@linkspan/daemon-irc";
import { UncertainSend } from "@linkspan/daemon-kit";
import { RecordingHost } from "@linkspan/daemon-kit/contract";
import { describe, expect, test } from "vitest";
import { Linked, linkedIdentity } from "../peers/irc/linked.ts";
import { IrcPeer } from "../peers/irc/peer.ts";
import { startFaultProxy } from "../servers/fault-proxy.ts";
import { describeOnServers, fresh } from "./irc-world.ts";

describeOnServers((world) => {
  test("without services a login refuses the link, and an identity waits for them unseen", async () => {
    const { nick, other, room } = fresh();
    await using peer = await IrcPeer.connect({ port: world.server.port, nick: other });
    await peer.join(room);
    const secrets = { password: Buffer.from("anything") };
    const options = { port: world.server.port, nick, secrets, settings: { channels: [room] } };
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
    const { room, peer, linked, conversation } = await world.meet();
    await using _ = linked;
    const secrets = { server_password: Buffer.from("let me in\r\nQUIT :injected") };
    const options = { port: world.server.port, nick: fresh().nick, secrets };
    await expect(Linked.open(options)).rejects.toMatchObject({ code: "request.invalid" });
    await linked.say(conversation, "undisturbed");
    await peer.until(() => peer.heardFrom(linked.connection.self?.name ?? "", room).includes("undisturbed"));
    await peer[Symbol.asyncDispose]();
  });

  test("what was written when the connection broke is in doubt; before that it is certain", async () => {
    const { nick, other, room } = fresh();
    await using proxy = await startFaultProxy({ port: world.server.port });
    await using peer = await IrcPeer.connect({ port: world.server.port, nick: other });
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
    expect(linked.state?.message).toContain("are missing");
    await linked.say(conversation, "after");
    await peer.until(() => peer.heardFrom(nick, room).includes("after"));
    expect(peer.heardFrom(nick, room)).toEqual(["before", "in doubt", "after"]);
  });

  test("without a confirmation in its window a text is in doubt", async () => {
    const { nick, room } = fresh();
    await using proxy = await startFaultProxy({ port: world.server.port });
    await using linked = await Linked.connected({ port: proxy.port, nick, settings: { channels: [room] } });
    const conversation = linked.channel(room);
    await linked.say(conversation, "joined by now");
    proxy.stall("down");
    const action = { action: "outbound_message", conversation, payload: { text: "into silence" } };
    await expect(linked.act(action, 300)).rejects.toBeInstanceOf(UncertainSend);
    proxy.pass();
    await linked.say(conversation, "and on");
  });

  test("a connection that is open but not answered is noticed and replaced", async () => {
    const { nick, room } = fresh();
    await using proxy = await startFaultProxy({ port: world.server.port });
    const connector = { patience: { quietMs: 200, graceMs: 200 } };
    const settings = { channels: [room] };
    await using linked = await Linked.connected({ port: proxy.port, nick, settings, connector });
    proxy.stall("down");
    const lost = await linked.becomes("transient_disconnect");
    expect(lost.message).toContain("stopped answering");
    proxy.pass();
    await linked.becomes("connected");
  });

  test("one connection to a host at a time where no more are allowed, in turn", async () => {
    const { nick } = fresh();
    const connector = ircConnector({ privateHosts: true, connectionsPerHost: 1 });
    const first = await Linked.connected({ port: world.server.port, nick, through: connector });
    const second = await Linked.open({ port: world.server.port, nick: `${nick}b`, through: connector });
    const third = await Linked.open({ port: world.server.port, nick: `${nick}c`, through: connector });
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
    const settings = { host: "localhost", tls: { ca: world.server.ca } };
    await using linked = await Linked.connected({ port: world.server.tlsPort, nick, settings });
    expect(linked.state?.message).toBe(`Connected to testnet as ${nick}.`);
    await using other = await Linked.open({
      port: world.server.tlsPort,
      nick: `${nick}b`,
      settings: { host: "localhost", tls: true },
    });
    const refused = await other.becomes("unknown_error");
    expect(refused.message).toContain("certificate of localhost cannot be trusted");
  });

  test("a server that is killed is waited for, and its channels are joined again", async () => {
    const { nick, room, linked, peer } = await world.meet();
    await using _ = linked;
    await peer[Symbol.asyncDispose]();
    await world.server.kill();
    const lost = await linked.becomes("transient_disconnect");
    expect(lost).toMatchObject({ code: "platform.unavailable" });
    expect(lost.retryAt).toBeInstanceOf(Date);
    await world.server.start();
    await linked.becomes("connected");
    expect(linked.state?.message).toMatch(/keeps no history, so messages between .* are missing/);
    await using again = await IrcPeer.connect({ port: world.server.port, nick: `${nick}p` });
    await again.join(room);
    await again.sees(nick, room);
  });

  test("a banned identity says so in words", async () => {
    const { nick } = fresh();
    await using linked = await Linked.connected({ port: world.server.port, nick });
    await world.server.ban("*@127.0.0.1", "no robots here");
    const banned = await linked.becomes("logged_out");
    expect(banned.code).toBe("platform.forbidden");
    expect(banned.message).toMatch(/has banned this connection \(.*no robots here.*\)/);
    await using late = await Linked.open({ port: world.server.port, nick: `${nick}b` });
    expect((await late.becomes("logged_out")).message).toContain("no robots here");
    await world.server.unban("*@127.0.0.1");
  });
});

describe("irc without a server", () => {
  test("a private address is refused in words unless the operator allows it", async () => {
    await using linked = await Linked.open({ port: 6667, nick: "alice", connector: { privateHosts: false } });
    const refused = await linked.becomes("unknown_error");
    expect(refused.message).toContain("private network");
  });
});

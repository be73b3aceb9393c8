/** The IRC connector on a network with services: accounts, NickServ, SASL, and what happens while they are away. */
import { ircConnector } from "@linkspan/daemon-irc";
import { type ContractPeer, connectorContract, RecordingHost } from "@linkspan/daemon-kit/contract";
import type { LinkOutcome } from "@linkspan/daemon-kit";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Linked, type LinkedOptions, linkedIdentity } from "../peers/irc/linked.ts";
import { IrcPeer } from "../peers/irc/peer.ts";
import { type AthemeNetwork, startAtheme } from "../servers/atheme.ts";
import { describeWithServers } from "../servers/available.ts";
import { startFaultProxy } from "../servers/fault-proxy.ts";

const PASSWORD = "correct-horse";
const secrets = { password: Buffer.from(PASSWORD) };

describeWithServers(["inspircd", "atheme"], "irc with services", () => {
  let network: AthemeNetwork;
  let count = 0;

  beforeAll(async () => {
    network = await startAtheme({ enforce: true });
  });
  afterAll(async () => {
    await network[Symbol.asyncDispose]();
  });

  /** A registered nickname and a room, of its own for every test. */
  async function registered(): Promise<{ nick: string; room: string; port: number }> {
    count += 1;
    const nick = `alice${count}`;
    await network.register(nick, PASSWORD);
    return { nick, room: `#room${count}`, port: network.irc.port };
  }

  async function link(options: LinkedOptions): Promise<LinkOutcome | undefined> {
    const connector = ircConnector({ privateHosts: true, patience: { identifyMs: 2_000 } });
    return connector.link?.(linkedIdentity(options), new RecordingHost(options.secrets));
  }

  connectorContract("services", async () => {
    const { nick, room, port } = await registered();
    const proxy = await startFaultProxy({ port });
    const chatter = await IrcPeer.connect({ port, nick: `bob${count}` });
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
      connector: ircConnector({ privateHosts: true, retry: { minMs: 50, maxMs: 200 } }),
      identity,
      secrets,
      conversation: `msgr://channels/ws/bridge/irc/testnet/${encodeURIComponent(room)}`,
      peer,
      refused: { identity, secrets: { password: Buffer.from("wrong") } },
      [Symbol.asyncDispose]: async () => {
        await chatter[Symbol.asyncDispose]();
        await proxy[Symbol.asyncDispose]();
      },
    };
  });

  test("a nickname and a password are a login, and a wrong password is no link", async () => {
    const { nick, port } = await registered();
    expect(await link({ port, nick, secrets })).toEqual({
      status: "linked",
      remote: `testnet/${nick}`,
      name: nick,
    });
    const wrong = { password: Buffer.from("wrong") };
    for (const settings of [{}, { nickserv: {}, withoutCaps: ["sasl"] }]) {
      const outcome = await link({ port, nick, settings, secrets: wrong });
      expect(outcome).toMatchObject({ status: "failed", code: "platform.auth_expired" });
    }
    const nickserv = { nickserv: {}, withoutCaps: ["sasl"] };
    expect(await link({ port, nick, settings: nickserv, secrets })).toMatchObject({ status: "linked" });
  });

  test("a long password, and a service that is called by its full name, are a login, and no event shows it", async () => {
    count += 1;
    const nick = `alice${count}`;
    const long = "p".repeat(200);
    await network.register(nick, long);
    const { port } = network.irc;
    const given = { password: Buffer.from(long) };
    const byName = { nickserv: { service: "NickServ@services.test.invalid" }, withoutCaps: ["sasl"] };
    const unlabelled = { ...byName, withoutCaps: ["sasl", "labeled-response"] };
    for (const settings of [{}, byName, unlabelled]) {
      await using linked = await Linked.connected({ port, nick, secrets: given, settings });
      await linked.sees(
        "it is logged in",
        () => linked.state?.message === `Connected to testnet as ${nick}.`,
      );
      expect(JSON.stringify([linked.host.events, linked.host.states])).not.toContain(long);
    }
  });

  test("services that are away at a reconnect are waited for, and refuse a link", async () => {
    const { nick, room, port } = await registered();
    await using linked = await Linked.connected({ port, nick, secrets, settings: { channels: [room] } });
    await network.services.stop();
    await network.irc.eject(nick, "come back without services");
    await linked.sees("it waits", () =>
      linked.host.states.some(({ message }) => message.includes("login does not work just now")),
    );
    const outcome = await link({ port, nick: `${nick}x`, secrets });
    expect(outcome).toMatchObject({ status: "failed", code: "platform.unavailable" });
    await network.services.start();
    await linked.becomes("connected");
    expect(linked.host.states.some(({ state }) => state === "bad_credentials")).toBe(false);
    await linked.say(linked.channel(room), "back again");
  });

  test("a nickname that services take away is followed and reported, and asked back when there is a login", async () => {
    const { nick, room, port } = await registered();
    await using owner = await IrcPeer.connect({ port, nick: `owner${count}` });
    owner.write(`PRIVMSG NickServ :IDENTIFY ${nick} ${PASSWORD}`);
    await owner.expect(({ command }) => command === "900");
    owner.write("PRIVMSG NickServ :SET ENFORCE ON");
    await owner.settled();
    await using linked = await Linked.connected({ port, nick, settings: { channels: [room] } });
    await linked.sees("another nickname", () => linked.connection.self?.name !== nick);
    const guest = linked.connection.self?.name ?? "";
    await linked.sees("it is told", () => linked.state?.message.includes(`as ${guest}`) === true);
    expect(linked.state?.message).toContain(`${nick} is asked back`);
    owner.write(`JOIN ${room}`);
    await owner.settled();
    await linked.say(linked.channel(room), "under another name");
    await owner.until(() => owner.heardFrom(guest, room).includes("under another name"));
  });

  test("a nickname that a ghost holds is had back from NickServ", async () => {
    const { nick, room, port } = await registered();
    await using ghost = await IrcPeer.connect({ port, nick });
    const settings = { channels: [room], nickserv: { recover: "GHOST" }, sasl: { account: nick } };
    await using linked = await Linked.open({ port, nick, secrets, settings });
    await linked.sees("its nickname", () => linked.connection.self?.name === nick);
    await ghost.until(() => ghost.closed);
  });
});

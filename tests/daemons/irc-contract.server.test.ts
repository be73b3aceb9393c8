/** The contract of every connector, kept by the IRC one on servers that others wrote. */
import { ircConnector } from "@linkspan/daemon-irc";
import { type ContractPeer, connectorContract } from "@linkspan/daemon-kit/contract";
import { linkedIdentity } from "../peers/irc/linked.ts";
import { IrcPeer } from "../peers/irc/peer.ts";
import { startFaultProxy } from "../servers/fault-proxy.ts";
import { describeOnServers, fresh } from "./irc-world.ts";

describeOnServers((world, name) => {
  connectorContract(name, async () => {
    const { nick, other, room } = fresh();
    const proxy = await startFaultProxy({ port: world.server.port });
    const chatter = await IrcPeer.connect({ port: world.server.port, nick: other });
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
      conversation: `msgr://channels/ws/bridge/irc/testnet/${encodeURIComponent(room)}`,
      peer,
      [Symbol.asyncDispose]: async () => {
        await chatter[Symbol.asyncDispose]();
        await proxy[Symbol.asyncDispose]();
      },
    };
  });
});

import type { LinkedIdentity } from "@linkspan/daemon-kit";
import { type ConnectorFixture, connectorContract } from "@linkspan/daemon-kit/contract";
import { channelRef } from "@linkspan/envelopes";
import { EchoPlatform } from "./client.ts";
import { echoConnector } from "./connector.ts";

async function setUp(service: string): Promise<ConnectorFixture> {
  const platform = new EchoPlatform();
  const heard: string[] = [];
  const perform = platform.perform.bind(platform);
  platform.perform = (account, key, activity) => {
    if (platform.find(account, key) === undefined && activity.text !== undefined) heard.push(activity.text);
    // The peer of this suite only listens: what it says, it says itself.
    return perform(account, key, activity, { late: true });
  };
  const identity: LinkedIdentity = {
    identityId: "id-1",
    workspaceId: "acme",
    userId: "ada",
    home: "primary",
    settings: { name: "ada", count: true },
    checkpoint: undefined,
  };
  return {
    connector: echoConnector({ platform, service }),
    identity,
    conversation: channelRef("acme", service, ["lobby"]),
    peer: {
      say: async (text) => {
        platform.happen("id-1", { kind: "message", channel: "lobby", text });
      },
      heard: () => heard,
      drop: async () => platform.drop("id-1"),
    },
    refused: { secrets: { password: Buffer.from("wrong") } },
    patienceMs: 2_000,
    [Symbol.asyncDispose]: async () => undefined,
  };
}

for (const service of ["echo", "telegram", "matrix", "irc", "xmpp"]) {
  connectorContract(`echo as ${service}`, () => setUp(service));
}

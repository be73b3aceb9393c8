/** The kind: a server of one's own under the name of another network, to speak in its channels as anybody. */
import type { Connector } from "@linkspan/daemon-kit";
import { RecordingHost } from "@linkspan/daemon-kit/contract";
import { expect, test } from "vitest";
import { ircConnector } from "./connector.ts";
import { Networks } from "./networks.ts";
import { ScriptedServer } from "./testing/scripted-server.ts";

const at = (network: string, host: string, workspaceId = "ws") => ({ workspaceId, network, host });

test.each(["irc.libera.chat", "IRC.Libera.Chat.", "zinc.libera.chat", "libera.chat"])(
  "a known network has its own servers: %s",
  (host) => {
    expect(() => new Networks().require(at("libera", host))).not.toThrow();
  },
);

test.each(["irc.evil.example", "notlibera.chat", "libera.chat.evil.example", "10.0.0.1", "xlibera.chat"])(
  "another server is not let in under the name of a known network: %s",
  (host) => {
    expect(() => new Networks().require(at("libera", host))).toThrow("it is no server of libera");
  },
);

test("the name of a network is its first server's in a workspace for as long as an account is kept there", () => {
  const networks = new Networks();
  const first = networks.keep(at("corp", "irc.corp.example"));
  const second = networks.keep(at("corp", "IRC.corp.example"));
  expect(() => networks.require(at("corp", "irc.evil.example"))).toThrow("another server");
  networks.require(at("corp", "irc.corp.example."));
  networks.require(at("corp", "irc.evil.example", "other-workspace"));
  networks.require(at("mine", "irc.evil.example"));

  first[Symbol.dispose]();
  first[Symbol.dispose]();
  expect(() => networks.require(at("corp", "irc.evil.example"))).toThrow("another server");
  second[Symbol.dispose]();
  networks.require(at("corp", "irc.evil.example"));
});

test("a link is refused before it connects, and only while an account of the name is kept", async () => {
  await using server = await ScriptedServer.listen();
  const irc: Connector = ircConnector({ privateHosts: true });
  const identity = (network: string, host: string) => ({
    identityId: "id-1",
    workspaceId: "ws",
    userId: "user",
    home: "primary",
    checkpoint: undefined,
    settings: { network, host, port: server.port, tls: false, nick: "alice" },
  });
  const link = async (network: string, host: string) =>
    irc.link?.(identity(network, host), new RecordingHost());

  await expect(link("libera", "127.0.0.1")).rejects.toThrow("it is no server of libera");
  const kept = await irc.open(identity("testnet", "127.0.0.1"), new RecordingHost());
  await expect(link("testnet", "localhost")).rejects.toThrow("another server");
  await kept[Symbol.asyncDispose]();
  expect(await link("testnet", "localhost")).toMatchObject({ status: "linked" });
});

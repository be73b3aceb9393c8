/**
 * The kind: a rejection, timeout or end in the middle of an attempt leaves a timer, a lease or a listener.
 */
import { FabricError } from "@linkspan/envelopes";
import { expect, test } from "vitest";
import { type Clock, systemClock } from "../shared/clock.ts";
import type { Connection, IdentityHost, LinkedIdentity } from "../connector.ts";
import { lobby, StubConnector } from "../testing/stub-connector.ts";
import { eventually, World } from "../testing/world.ts";

/** The real clock, with the waits that are pending on it. */
class CountingClock implements Clock {
  readonly sleeping = new Map<object, number>();
  /** Everything that can end a wait. */
  readonly signals = new Set<AbortSignal>();
  readonly now = () => systemClock.now();
  readonly monotonicMs = () => systemClock.monotonicMs();

  after(ms: number, run: () => void): () => void {
    const wait = {};
    this.sleeping.set(wait, ms);
    const cancel = systemClock.after(ms, () => {
      this.sleeping.delete(wait);
      run();
    });
    return () => {
      this.sleeping.delete(wait);
      cancel();
    };
  }

  async sleep(ms: number, signal?: AbortSignal): Promise<void> {
    const wait = {};
    if (signal !== undefined) this.signals.add(signal);
    this.sleeping.set(wait, ms);
    try {
      await systemClock.sleep(ms, signal);
    } finally {
      this.sleeping.delete(wait);
    }
  }
}

test("parts that are said, refused or unanswered leave no timer", async () => {
  await using world = await World.make();
  const { core } = world;
  core.link("id-1");
  const connector = new StubConnector();
  const clock = new CountingClock();
  await world.up(connector, { clock });
  connector.onPerform = async ({ text }) => {
    if (text === "refused") throw new FabricError("platform.forbidden", "no");
    if (text === "broken") throw new Error("a bug");
    return { remoteId: text, at: new Date() };
  };
  const lasting = () => [...clock.sleeping.values()].filter((ms) => ms >= 1_500 && ms <= 2_500).length;
  const before = lasting();
  const texts = ["said", "refused", "broken", "said again"];
  for (const text of texts) await core.say("id-1", { text }, { conversation: lobby(text) });
  await eventually(() => core.payloads("delivery_status").length === texts.length);
  expect(lasting()).toBe(before);
});

test("connections that fail to open leave neither a credential lease nor a listener", async () => {
  await using world = await World.make();
  const { core } = world;
  core.link("id-1");
  core.vault.credentials.set("id-1", { fields: { password: Buffer.from("x") }, version: 1 });
  const connector = new StubConnector();
  let failures = 0;
  const { onOpen } = connector;
  connector.onOpen = async (identity, host) => {
    if (++failures <= 20) throw new FabricError("platform.unavailable", "not now");
    await onOpen(identity, host);
  };
  const clock = new CountingClock();
  await world.up(connector, { clock, reopen: { minMs: 1, maxMs: 2 } });
  const count = (action: string) => core.asked.filter((asked) => asked.action === action).length;
  await eventually(() => count("release") === 20);
  expect(count("checkout")).toBe(21);
  const open = [...clock.signals].filter((signal) => !signal.aborted);
  expect(open.length, "a signal that is neither aborted nor used keeps its listeners").toBeLessThan(10);
});

test("credentials that cannot be opened are given back", async () => {
  await using world = await World.make();
  const { core } = world;
  core.link("id-1");
  core.vault.credentials.set("id-1", { fields: { password: Buffer.from("x") }, version: 1 });
  core.vault.sealsWrongly = true;
  await world.start(new StubConnector(), { reopen: { minMs: 1, maxMs: 2 } });
  await eventually(() => core.asked.some(({ action }) => action === "release"));
});

test("links that fail leave no credential lease", async () => {
  const ends: (() => Promise<never>)[] = [
    () => Promise.reject(new FabricError("platform.auth_expired", "wrong")),
    () => Promise.reject(new Error("a bug")),
  ];
  for (const [index, end] of ends.entries()) {
    const connector = new StubConnector();
    connector.link = end;
    await using other = await World.make();
    other.core.link("id-1");
    await other.up(connector);
    const ticket = await other.core.sessionTicket("new");
    const reply = await other.core.request("link_account", { settings: {} }, { identity_id: "new", ticket });
    expect(reply.payload.status, String(index)).toBe("failed");
    await eventually(() => other.core.asked.filter(({ action }) => action === "release").length === 1);
  }
});

test("a connection that opens too late is closed again", async () => {
  await using world = await World.make();
  const { core } = world;
  core.link("id-1");
  const late = Promise.withResolvers<void>();
  const connector = new (class extends StubConnector {
    override async open(identity: LinkedIdentity, host: IdentityHost): Promise<Connection> {
      const connection = await super.open(identity, host);
      await late.promise;
      return connection;
    }
  })();
  await world.start(connector);
  await eventually(() => connector.opened.length === 1);
  core.identities.clear();
  await core.tell("changed", { what: "assignments" }, { workspace_id: "_" }, "core");
  await eventually(() => connector.host("id-1").signal.aborted);
  // It is closed, and only once, whether it opens within the allowed time or after it.
  late.resolve();
  await eventually(() => connector.closed.length > 0);
  expect(connector.closed).toEqual(["id-1"]);
});

test("a process that stops while its question for the lease is on its way gives back what it may have been granted", async () => {
  await using world = await World.make();
  const { core } = world;
  core.silent = true;
  const { daemon } = await world.start(new StubConnector(), { tuning: { helloTimeoutMs: 200 } });
  await eventually(() => core.asked.some(({ action }) => action === "hello"));
  await daemon[Symbol.asyncDispose]();
  expect(core.asked.at(-1)?.payload.leaving).toBe(true);
});

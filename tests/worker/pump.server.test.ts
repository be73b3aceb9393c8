/** The pump: one intent's fault stays its own, its memory is bounded, and nothing ends it. */
import { randomUUID } from "node:crypto";
import { ownRecord } from "@linkspan/compose/parts";
import { channelRef, decode, FabricError, KeyRing, openTicket } from "@linkspan/envelopes";
import type { Outgoing } from "@linkspan/fabric";
import {
  claimLease,
  currentLease,
  Database,
  insertIdentity,
  intentById,
  migrate,
  saveDeclaration,
  updateIdentity,
} from "@linkspan/store";
import { cancelIntent, type Core, recordIntent } from "@linkspan/worker";
import { type PumpOptions, runPump } from "@linkspan/worker/testing";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { describeWithServers } from "../servers/available.ts";
import { type PostgresServer, startPostgres } from "../servers/postgres.ts";
import { until } from "../servers/until.ts";
import { insertQueued, newIntent } from "../store/intents.ts";
import { OutboxModel } from "./outbox-model.ts";

describeWithServers(["postgres"], "pump", () => {
  let server: PostgresServer;
  let database: Database;
  let core: Core;
  let published: Outgoing[];
  let publish: (message: Outgoing) => Promise<void>;

  beforeAll(async () => {
    server = await startPostgres({ settings: { fsync: "off", synchronous_commit: "off" } });
    database = new Database(await server.createDatabase("pump"));
    await migrate(database);
  });
  afterAll(async () => {
    await database?.[Symbol.asyncDispose]();
    await server?.[Symbol.asyncDispose]();
  });
  beforeEach(async () => {
    const model = new OutboxModel(database);
    await model.start(["alice"]);
    published = [];
    publish = () => Promise.resolve();
    const bus = {
      publish: (message: Outgoing) => {
        published.push(message);
        return publish(message);
      },
    };
    core = { ...model.core, bus } as unknown as Core;
  });

  const lane = (name: string) => channelRef("acme", "irc", ["net", name]);
  const record = (name: string, text: string, identityId = "alice") =>
    recordIntent(core, {
      workspaceId: "acme",
      userId: "u",
      identityId,
      action: "outbound_message",
      conversation: lane(name),
      payload: { text },
      idempotencyKey: randomUUID(),
      actor: "test",
    });

  function pumping(options: PumpOptions = {}, over: Partial<Core> = {}): AsyncDisposable {
    const stop = new AbortController();
    const ended = runPump({ ...core, ...over }, options, stop.signal);
    return {
      async [Symbol.asyncDispose]() {
        stop.abort();
        await ended;
      },
    };
  }

  test("what fits no envelope is refused when it is recorded", async () => {
    core = { ...core, intentLimits: { textBytes: 2_000_000 } };
    await expect(record("big", "x".repeat(1_047_700))).rejects.toMatchObject({ code: "envelope.too_large" });
    expect((await database.query("SELECT 1 FROM intents")).rows).toEqual([]);
  });

  test("what cannot be published fails alone, at once, with its code; its lane goes on", async () => {
    const id = randomUUID();
    const big = { conversation: lane("big"), payload: { text: "x".repeat(1_047_700) } };
    await insertQueued(database.pool, [newIntent(id, big)]);
    const { intent: next } = await record("big", "after it");
    await using _ = pumping();
    await until(() => published.length > 0, { what: "the next of the lane" });
    expect(published.map(({ messageId }) => messageId)).toEqual([next.id]);
    expect(await intentById(database.pool, id)).toMatchObject({
      state: "failed",
      code: "envelope.too_large",
    });
  });

  test("payloads that wait for the broker are bounded by bytes, and all go out in the end", async () => {
    const size = 100_000;
    core = { ...core, intentLimits: { textBytes: size } };
    for (let i = 0; i < 30; i++) await record(`room ${i}`, "x".repeat(size));
    const { promise, resolve } = Promise.withResolvers<void>();
    publish = () => promise;
    await using _ = pumping({ credit: 100, maxBytes: 10 * size });
    await until(() => published.length >= 5, { what: "the first publishes" });
    const { rows } = await database.query<{ n: number }>(
      "SELECT count(*)::int AS n FROM lanes WHERE published_at IS NOT NULL",
    );
    expect(rows[0]?.n).toBeLessThanOrEqual(6);
    expect(published.length).toBeLessThanOrEqual(6);
    resolve();
    await until(() => published.length === 30, { what: "all of them" });
  });

  /** Zoe, at an instance of her own. */
  async function another(): Promise<void> {
    const { pool } = database;
    const place = { service: "irc", instance: "second" };
    await insertIdentity(pool, { id: "zoe", workspace_id: "acme", user_id: "u", settings: {}, ...place });
    await updateIdentity(pool, "zoe", { state: "linked" });
    await claimLease(pool, { ...place, holder: "h", kid: core.signer.kid, ttlMs: 60_000 });
  }

  test("an instance whose queue takes nothing leaves room for the others", async () => {
    const size = 10_000;
    core = { ...core, intentLimits: { textBytes: size } };
    await another();
    for (let i = 0; i < 30; i++) await record(`room ${i}`, "x".repeat(size));
    publish = () =>
      published.at(-1)?.route.instance === "primary" ? new Promise(() => {}) : Promise.resolve();
    const stop = new AbortController();
    // It is not waited for: what its broker never confirms holds it up for seconds.
    void runPump(core, { credit: 100, maxBytes: 10 * size }, stop.signal);
    try {
      await until(() => published.length >= 5, { what: "the first publishes" });
      const { intent } = await record("a", "hello", "zoe");
      await until(() => published.some(({ messageId }) => messageId === intent.id), {
        what: "another's intent",
      });
      expect(published.length).toBeLessThan(12);
    } finally {
      stop.abort();
    }
  });

  test("a daemon that never answers leaves the places of those that wait for an answer to others", async () => {
    const size = 900_000;
    core = { ...core, intentLimits: { textBytes: size } };
    await another();
    for (const instance of ["primary", "second"])
      await saveDeclaration(
        database.pool,
        { service: "irc", instance },
        { capabilities: {}, knows: ["reply"] },
      );
    const asked: (string | undefined)[] = [];
    const bus = {
      publish: (message: Outgoing) => {
        published.push(message);
        return Promise.resolve();
      },
      request: ({ messageId }: Outgoing) => {
        asked.push(messageId);
        return new Promise(() => {});
      },
    };
    for (let i = 0; i < 25; i++) await record(`room ${i}`, "x".repeat(size));
    const stop = new AbortController();
    void runPump({ ...core, bus } as unknown as Core, { credit: 100 }, stop.signal);
    try {
      await until(() => asked.length >= 5, { what: "the silent daemon to be given some" });
      const { intent } = await record("a", "hello", "zoe");
      await until(() => asked.includes(intent.id), { what: "another's intent" });
      expect(await intentById(database.pool, intent.id)).toMatchObject({ state: "attempting" });
      const { rows } = await database.query("SELECT id FROM intents WHERE state = 'uncertain'");
      expect([rows, published]).toEqual([[], []]);
    } finally {
      stop.abort();
      await database.query("DELETE FROM instances");
    }
  });

  test.each([
    ["knows signed batches", ["attempt", "delivery_status", "signed_batches"], 1],
    ["announced that it does not", ["attempt", "delivery_status"], 6],
    ["announced nothing", undefined, 6],
  ])("a daemon that %s gets signatures that it can verify", async (_name, knows, signatures) => {
    await announce(knows);
    for (let i = 0; i < 6; i++) await record(`room ${i}`, "hello");
    await using _ = pumping();
    await until(() => published.length === 6, { what: "all to be published" });
    await database.query("DELETE FROM instances");
    expect(proven(published).size).toBe(signatures);
  });

  test("whoever takes over gets all again, signed alone until it has announced what it verifies", async () => {
    await announce(["attempt", "delivery_status", "signed_batches"]);
    for (let i = 0; i < 6; i++) await record(`room ${i}`, "hello");
    await using _ = pumping();
    await until(() => published.length === 6, { what: "all to be published" });
    await database.query("UPDATE instance_leases SET epoch = epoch + 1");
    await until(() => published.length === 12, { what: "all to be published to the next holder" });
    await database.query("DELETE FROM instances");
    const [before, after] = [published.slice(0, 6), published.slice(6)];
    expect(proven(before)).toEqual(new Map([[expect.any(String), Array(6).fill(1)]]));
    expect([...proven(after).values()]).toEqual(Array(6).fill([2]));
    const idsOf = (messages: readonly Outgoing[]) => messages.map(({ messageId }) => messageId).sort();
    expect(idsOf(after)).toEqual(idsOf(before));
  });

  async function announce(knows: readonly string[] | undefined): Promise<void> {
    const { pool } = database;
    const primary = { service: "irc", instance: "primary" };
    const lease = await currentLease(pool, primary.service, primary.instance);
    await saveDeclaration(pool, primary, { capabilities: {}, ...(knows && { knows }) }, lease?.epoch);
  }

  /** Opens all, with their tickets. @returns for each signature the attempts of those that have it */
  function proven(messages: readonly Outgoing[]): ReadonlyMap<string, readonly (number | undefined)[]> {
    const coreRecord = ownRecord(
      core.signer,
      { issuers: ["core"], purposes: ["envelope", "ticket"], services: ["*"] },
      core.now(),
    );
    const keys = new KeyRing([coreRecord]);
    const attempts = new Map<string, (number | undefined)[]>();
    for (const { body, kid, sig = "" } of messages) {
      const { envelope } = decode({ body, kid, sig }, { keys, now: core.now() });
      const ticket = envelope.metadata.ticket ?? "";
      const { attempt } = openTicket(ticket, { keys, now: core.now(), audience: "daemon:irc:primary" });
      attempts.set(signatureOf(sig), [...(attempts.get(signatureOf(sig)) ?? []), attempt]);
      expect(signatureOf(ticket.split(".")[2] ?? "")).toHaveLength(128);
    }
    return attempts;
  }

  test("whatever rejects, the pump goes on; what the broker refused comes back", async () => {
    const { intent } = await record("a", "hello");
    let failures = 3;
    const flaky = Object.assign(Object.create(database) as Database, {
      transaction: (work: Parameters<Database["transaction"]>[0]) =>
        failures-- > 0 ? Promise.reject(new TypeError("nobody foresaw this")) : database.transaction(work),
    });
    publish = () => Promise.reject(new FabricError("bus.unroutable", "nobody takes it"));
    await using _ = pumping({}, { database: flaky });
    await until(() => published.length === 1, { what: "the first publish" });
    publish = () => Promise.resolve();
    await until(() => published.length === 2, { what: "the second" });
    expect(await intentById(database.pool, intent.id)).toMatchObject({ state: "queued", attempt: 2 });
  });

  test("what was cancelled meanwhile is not published", async () => {
    const { intent } = await record("a", "first");
    const { intent: second } = await record("a", "second");
    await cancelIntent(core, "acme", intent.id, "test");
    await using _ = pumping();
    await until(() => published.length > 0, { what: "the second" });
    expect(published.map(({ messageId }) => messageId)).toEqual([second.id]);
  });
});

/** The 64 bytes that the key made, in hexadecimal: of this message, or of its batch. */
function signatureOf(sig: string): string {
  const bytes = Buffer.from(sig, "base64url");
  return (bytes.length === 64 ? bytes : bytes.subarray(5, 69)).toString("hex");
}

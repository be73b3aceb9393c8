/**
 * The kind: an answer that grows with the number of tenants, or with what one of them keeps. `resume` hands out any
 * number of identities in bounded pages, leaves out what fits none, and an answer that cannot be made fails alone.
 */
import { randomUUID } from "node:crypto";
import { ownRecord, registerKey } from "@linkspan/compose/parts";
import {
  decode,
  encode,
  type Envelope,
  type ErrorReply,
  KeyRing,
  noteId,
  type ResumeReply,
  routeOf,
  signerFromSeed,
  timestamp,
  traceIdOf,
} from "@linkspan/envelopes";
import type { Bus } from "@linkspan/fabric";
import { claimLease, identityById, saveInstanceHealth, stuckInstances } from "@linkspan/store";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { describeWithServers } from "../servers/available.ts";
import { type PostgresServer, startPostgres } from "../servers/postgres.ts";
import { openWorld, type World } from "./world.ts";

const ISSUER = "daemon:irc:primary";
const MAX_BYTES = 1_048_576;

describeWithServers(["postgres"], "resume", () => {
  const signer = signerFromSeed(new Uint8Array(32).fill(5));
  let server: PostgresServer;
  let world: World;
  let bus: Bus;
  let epoch = 0;

  beforeAll(async () => {
    server = await startPostgres();
    world = await openWorld({ databaseUrl: await server.createDatabase("resume"), daemons: false });
    const holder = { issuers: [ISSUER], purposes: ["envelope" as const], services: ["irc"] };
    await registerKey(world.core, ownRecord(signer, holder, new Date()));
    bus = world.broker.connect("irc");
    const { pool } = world.core.database;
    const claim = { service: "irc", instance: "primary", holder: "boot", kid: signer.kid, ttlMs: 600_000 };
    const lease = await claimLease(pool, claim);
    if (lease.state !== "held") throw new Error("the lease was not free");
    epoch = lease.epoch;
  });
  beforeEach(() => world.core.database.query("TRUNCATE identities, auth_sessions, checkpoints CASCADE"));
  afterAll(async () => {
    await bus?.[Symbol.asyncDispose]();
    await world?.[Symbol.asyncDispose]();
    await server?.[Symbol.asyncDispose]();
  });

  /** Identities as linking makes them, or with settings of so many bytes, as an older version let them be. */
  async function identities(count: number, prefix: string, bytes = 0): Promise<void> {
    await world.core.database.query(
      `INSERT INTO identities (id, workspace_id, user_id, service, home, instance, state, settings)
       SELECT $2 || i, 'acme', gen_random_uuid()::text, 'irc', 'primary', 'primary', 'linked',
              jsonb_build_object('network', 'libera', 'host', 'irc.libera.chat', 'port', '6697', 'tls', 'true',
                'nick', 'alice', 'channels', '#linkspan,#help') || jsonb_build_object('text', repeat('x', $3))
         FROM generate_series(1, $1::int) i`,
      [count, prefix, bytes],
    );
  }

  async function ask(
    action: string,
    payload: Record<string, unknown>,
    workspaceId = "_",
  ): Promise<[ResumeReply, number]> {
    const messageId = noteId(ISSUER, action, randomUUID());
    const traceId = traceIdOf(messageId);
    const envelope: Envelope = {
      schema: "msgr.bridge.v1",
      service: "core",
      action,
      trace_id: traceId,
      occurred_at: timestamp(new Date()),
      metadata: {
        issuer: ISSUER,
        workspace_id: workspaceId,
        instance: "primary",
        message_id: messageId,
        epoch,
        reply_to: `bridge/core/${action}/reply/${traceId}`,
      },
      payload,
    };
    const signed = encode(envelope, signer);
    const answer = await bus.request(
      { ...signed, route: routeOf(envelope, 8), messageId },
      { timeoutMs: 30_000 },
    );
    const opened = decode(answer, { keys: new KeyRing(world.core.keys.records()), now: new Date() });
    return [opened.envelope.payload as ResumeReply, answer.body.length];
  }

  async function resume(): Promise<{ ids: string[]; largest: number; pages: number }> {
    const ids: string[] = [];
    let largest = 0;
    let pages = 0;
    for (let cursor: string | undefined = ""; cursor !== undefined; pages++) {
      const [page, bytes]: [ResumeReply, number] = await ask("resume", { boot_id: "boot", cursor });
      ids.push(...page.identities.map(({ identity_id }) => identity_id));
      largest = Math.max(largest, bytes);
      ({ cursor } = page);
    }
    return { ids, largest, pages };
  }

  test.each([1, 1_050, 20_000])(
    "%i identities are handed out once each, in pages of less than half an envelope",
    async (count) => {
      await identities(count, "i");
      const { ids, largest, pages } = await resume();
      expect(new Set(ids).size).toBe(count);
      expect(ids).toHaveLength(count);
      expect(largest).toBeLessThan(MAX_BYTES / 2);
      expect(pages).toBeLessThanOrEqual(Math.ceil(count / 200) + 1);
    },
  );

  test("large ones share pages by their bytes, and keep nobody out", async () => {
    await identities(40, "large", 15_000);
    await identities(50, "small");
    const { ids, largest } = await resume();
    expect(ids).toHaveLength(90);
    expect(largest).toBeLessThan(MAX_BYTES / 2);
  });

  test("one whose settings are larger than an answer may hold is left out, wherever its page ends", async () => {
    await identities(2, "large", 30_000);
    await identities(20, "small");
    const { ids } = await resume();
    expect(ids).toHaveLength(20);
    expect(await identityById(world.core.database.pool, "large1")).toMatchObject({
      bridge_state: "unknown_error",
      bridge_detail: { code: "envelope.too_large" },
    });
  });

  test("one that fits no page is left out with its own state; the others are served", async () => {
    await identities(3, "huge", 900_000);
    await identities(20, "small");
    const { ids } = await resume();
    expect(ids.toSorted((a, b) => a.localeCompare(b))).toEqual(
      Array.from({ length: 20 }, (_, i) => `small${i + 1}`).toSorted((a, b) => a.localeCompare(b)),
    );
    const left = await identityById(world.core.database.pool, "huge1");
    expect(left?.bridge_state).toBe("unknown_error");
    expect(left?.bridge_detail).toMatchObject({ code: "envelope.too_large" });
  });

  test("a daemon that knows no paging gets what one envelope holds, and health says that it is not all", async () => {
    await identities(100, "a");
    const [few] = await ask("resume", { boot_id: "boot" });
    expect(few).not.toHaveProperty("cursor");
    expect(few.identities).toHaveLength(100);
    expect(await stuckInstances(world.core.database.pool, 5)).toEqual([]);

    await identities(2_000, "b");
    const [many, bytes] = await ask("resume", { boot_id: "boot" });
    expect(bytes).toBeLessThan(MAX_BYTES);
    expect(many.identities.length).toBeGreaterThan(500);
    expect(await stuckInstances(world.core.database.pool, 5)).toMatchObject([
      { service: "irc", instance: "primary", code: "envelope.too_large" },
    ]);
    await saveInstanceHealth(
      world.core.database.pool,
      { service: "irc", instance: "primary" },
      { health: "ok", code: undefined, detail: undefined },
    );
  });

  test("an answer that no envelope holds fails its own request; those beside it are answered", async () => {
    await identities(2, "i");
    const intentId = noteId(ISSUER, "attempt", "too large");
    // Nothing bounds a remote id in the table: it can still break an answer.
    await world.core.database.query(
      `INSERT INTO intents (id, workspace_id, user_id, identity_id, service, action, payload, content, idempotency_key,
         trace_id, state, attempt, part, parts, remote_ids)
       VALUES ($1, 'acme', 'u', 'i1', 'irc', 'outbound_message', '{}', '', 'k', 't', 'attempting', 1, 1, 2,
         ARRAY[repeat('x', 1100000)])`,
      [intentId],
    );
    const hello = () => ask("hello", { boot_id: "boot", version: "1" });
    const asked = Array.from({ length: 20 }, async (_, i) =>
      i === 7 ? ask("attempt", { intent_id: intentId, attempt: 1, part: 0, parts: 2 }, "acme") : hello(),
    );
    const answers = await Promise.all(asked);
    const codes = answers.map(([payload]) => (payload as Partial<ErrorReply>).error?.code);
    expect(codes[7]).toMatch(/^envelope\./);
    expect(codes.filter((code) => code !== undefined)).toHaveLength(1);
  });
});

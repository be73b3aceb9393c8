/** One tenant that has most of everything: what is read for it, or for others beside it, stays a page. */
import {
  apiTokensOf,
  Database,
  dequeue,
  identitiesOf,
  identityById,
  keySet,
  keysVersion,
  listIntents,
  listQuarantine,
  lockUnsettledIntents,
  migrate,
  type Queryable,
  readEvents,
  readEventsBetween,
  saveBridgeState,
  saveKeyRecord,
  unlinkedWithIntents,
  updateIdentity,
} from "@linkspan/store";
import type { KeyRecord } from "@linkspan/envelopes";
import { afterAll, beforeAll, expect, test } from "vitest";
import { describeWithServers } from "../servers/available.ts";
import { type PostgresServer, startPostgres } from "../servers/postgres.ts";
import { insertQueued, newIntent } from "./intents.ts";
import { blocks, touched } from "./plan.ts";

const ROWS = 60_000;
const BYTES = 262_144;

describeWithServers(["postgres"], "one tenant with most of everything", () => {
  let server: PostgresServer;
  let database: Database;

  beforeAll(async () => {
    server = await startPostgres();
    database = new Database(await server.createDatabase("scale"));
    await migrate(database);
    await using upkeep = database.forLongWork();
    for (const statement of [
      `INSERT INTO identities (id, workspace_id, user_id, service, home, instance, state, settings, created_at)
       SELECT 'i' || i, 'acme', 'u' || i, 'irc', 'p', 'p', CASE WHEN i % 3 = 0 THEN 'unlinked' ELSE 'linked' END, '{}', now() - i * interval '1 s'
         FROM generate_series(1, ${ROWS}) i`,
      `INSERT INTO intents (id, workspace_id, user_id, identity_id, service, action, payload, content, idempotency_key, trace_id, state)
       SELECT 'm' || i, 'acme', 'u', 'i' || i % 5000 + 1, 'irc', 'outbound_message', '{}', '\\x00', 'k', 't', CASE WHEN i % 4 = 0 THEN 'queued' ELSE 'sent' END
         FROM generate_series(1, ${ROWS}) i`,
      `INSERT INTO identities (id, workspace_id, user_id, service, home, instance, state, settings)
       VALUES ('rich', 'acme', 'u', 'irc', 'p', 'p', 'linked', '{}')`,
      `INSERT INTO intents (id, workspace_id, user_id, identity_id, service, action, payload, content, idempotency_key, trace_id, state)
       SELECT 'r' || i, 'acme', 'u', 'rich', 'irc', 'outbound_message', '{}', '\\x00', 'k', 't', 'queued' FROM generate_series(1, 20000) i`,
      `INSERT INTO outbox (intent_id, service, instance, identity_id, lane, bytes)
       SELECT id, 'irc', 'p', identity_id, id, 2 FROM intents WHERE identity_id = 'rich'`,
      `INSERT INTO quarantine (code, detail, routing_key, workspace_id, body, body_hash)
       SELECT 'envelope.schema', 'd', 'r', 'acme', '\\x00', int4send(i) FROM generate_series(1, ${ROWS}) i`,
      `INSERT INTO api_tokens (token_hash, name, workspace_id, role)
       SELECT int4send(i), 't' || i, 'ws' || i, 'backend' FROM generate_series(1, ${ROWS}) i`,
      `INSERT INTO key_records (kid, record)
       SELECT 'k' || i, '{}' FROM generate_series(1, ${ROWS / 10}) i`,
      `INSERT INTO events (received_at, workspace_id, message_id, leaf, service, account, conversation, fan_out, body)
       SELECT now() - i * interval '1 ms', CASE WHEN i % 2 = 0 THEN 'acme' ELSE 'ws' || i % 5000 END, int4send(i), int4send(i), 'irc', 'i1', 'c', i % 10 = 0, repeat('x', 300)::bytea
         FROM generate_series(1, ${ROWS}) i`,
      `INSERT INTO event_positions (position, workspace_id, event_id, received_at, xid)
       SELECT row_number() OVER (ORDER BY id), workspace_id, id, received_at, xid FROM events`,
      "VACUUM ANALYZE",
    ])
      await upkeep.query(statement);
  });
  afterAll(async () => {
    await database?.[Symbol.asyncDispose]();
    await server?.[Symbol.asyncDispose]();
  });

  const half = ROWS / 2;
  test.each<[string, (on: Queryable) => Promise<unknown>]>([
    [
      "a page of its events, from the beginning",
      (on) => readEvents(on, { workspaceId: "acme", after: 0, limit: 50, maxBytes: BYTES }),
    ],
    [
      "a page of its events, from the middle",
      (on) => readEvents(on, { workspaceId: "acme", after: half, limit: 50, maxBytes: BYTES }),
    ],
    [
      "a page of its events with those that were not fanned out",
      (on) => readEvents(on, { workspaceId: "acme", after: half, limit: 50, all: true }),
    ],
    [
      "a page of another one's events",
      (on) => readEvents(on, { workspaceId: "ws7", after: 0, limit: 50, maxBytes: BYTES }),
    ],
    [
      "a page of notes to subscribers",
      (on) => readEventsBetween(on, { after: half, upTo: half + 10_000, limit: 50, maxBytes: BYTES }),
    ],
    ["a page of its accounts", (on) => identitiesOf(on, { workspaceId: "acme", limit: 100 })],
    [
      "a later page of its accounts",
      (on) => identitiesOf(on, { workspaceId: "acme", limit: 100, after: `i${half + 1}` }),
    ],
    [
      "its intents in a state that none has",
      (on) => listIntents(on, { workspaceId: "acme", state: "read", limit: 100 }),
    ],
    ["what unlinking one account ends", (on) => lockUnsettledIntents(on, "i7", 100)],
    ["what unlinking ends of an account with most of them", (on) => lockUnsettledIntents(on, "rich", 100)],
    ["accounts whose unlinking was interrupted", (on) => unlinkedWithIntents(on)],
    [
      "quarantine with a code that none has",
      (on) => listQuarantine(on, { code: "bus.rejected", limit: 100 }),
    ],
    ["tokens of a workspace", (on) => apiTokensOf(on, "ws7", 100)],
    ["whether keys have changed", (on) => keysVersion(on)],
  ])("%s", async (_what, work) => {
    expect(await touched(database, work)).toBeLessThan(ROWS / 60);
  });

  test("a lane moves on from where it is, also while a backup keeps what has left it from being cleaned away", async () => {
    const ids = Array.from({ length: 4_000 }, (_, i) => `long${i + 1}`);
    const long = { identityId: "i1", conversation: "long" };
    await insertQueued(
      database.pool,
      ids.map((id) => newIntent(id, long)),
      "p",
    );
    const backup = await database.pool.connect();
    await backup.query("BEGIN ISOLATION LEVEL REPEATABLE READ");
    await backup.query("SELECT 1");
    for (let at = 0; at < 3_500; at += 500) await dequeue(database.pool, ids.slice(at, at + 500));
    const looked = await blocks(database, (on) => dequeue(on, ["long3501"]));
    await backup.query("ROLLBACK");
    backup.release();
    expect(looked).toBeLessThan(30);
  });

  test("a changed connection state writes no index", async () => {
    const hot = async () => {
      await database.query("SELECT pg_stat_force_next_flush()").catch(() => undefined);
      const { rows } = await database.query<{ hot: string; all: string }>(
        "SELECT n_tup_hot_upd AS hot, n_tup_upd AS all FROM pg_stat_user_tables WHERE relname = 'identities'",
      );
      return { hot: Number(rows[0]?.hot), all: Number(rows[0]?.all) };
    };
    const before = await hot();
    const states = ["connecting", "connected", "transient_disconnect", "connecting", "connected"];
    for (let i = 1; i <= 100; i++) {
      for (const state of states) {
        await saveBridgeState(database.pool, { account: `i${i}`, state, detail: {}, epoch: 1 });
      }
    }
    await expect
      .poll(async () => (await hot()).all - before.all, { timeout: 15_000 })
      .toBeGreaterThanOrEqual(300);
    const after = await hot();
    expect((after.hot - before.hot) / (after.all - before.all)).toBeGreaterThan(0.6);
  });

  test("an account that was unlinked keeps the time of it, whatever changes afterwards", async () => {
    const pool = database.pool;
    const at = async () =>
      (await pool.query<{ at: Date }>("SELECT unlinked_at AS at FROM identities WHERE id = 'i1'")).rows[0]
        ?.at;
    await updateIdentity(pool, "i1", { state: "unlinked" });
    const first = await at();
    await updateIdentity(pool, "i1", { state: "unlinked", bridge_state: "logged_out" });
    expect(first).toBeInstanceOf(Date);
    expect(await at()).toEqual(first);
    expect((await identityById(pool, "i1"))?.state).toBe("unlinked");
  });

  test("of two changes of keys at once, each is seen when it is committed, whichever began first", async () => {
    const record = (kid: string): KeyRecord => ({
      kid,
      public_key_b64u: "",
      issuers: [],
      purposes: [],
      services: [],
      workspaces: [],
      not_before: "",
      not_after: "",
    });
    for (const kid of ["first", "second"]) await saveKeyRecord(database.pool, record(kid));
    const slow = await database.pool.connect();
    await slow.query("BEGIN");
    await saveKeyRecord(slow, { ...record("first"), revoked_at: "2026-01-01T00:00:00.000Z" });
    await saveKeyRecord(database.pool, { ...record("second"), revoked_at: "2026-01-01T00:00:00.000Z" });
    const between = await keysVersion(database.pool);
    await slow.query("COMMIT");
    slow.release();
    expect(await keysVersion(database.pool)).toBeGreaterThan(between);
    const { records } = await keySet(database.pool);
    expect(records.find(({ kid }) => kid === "first")?.revoked_at).toBeDefined();
  });
});

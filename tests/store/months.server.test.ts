/** Time rolls on: months come and go under load and beside a backup, and nothing grows beyond the retention. */
import { randomUUID } from "node:crypto";
import {
  advancePositions,
  appendEvents,
  Database,
  dropPartitions,
  ensurePartitions,
  readEvents,
} from "@linkspan/store";
import { type Core, sweepMonths, sweepRetention, sweepSessions } from "@linkspan/worker";
import { pino } from "pino";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { describeWithServers } from "../servers/available.ts";
import { type PostgresServer, startPostgres } from "../servers/postgres.ts";
import { until } from "../servers/until.ts";
import { newEvent } from "./events.ts";

const DAY_MS = 86_400_000;
const STEP_DAYS = 30;

describeWithServers(["postgres"], "months", () => {
  let server: PostgresServer;
  let database: Database;

  beforeAll(async () => {
    server = await startPostgres();
  });
  afterAll(async () => {
    await server?.[Symbol.asyncDispose]();
  });
  beforeEach(async () => {
    database = new Database(await server.migratedDatabase(`m${randomUUID().replaceAll("-", "")}`));
    return () => database[Symbol.asyncDispose]();
  });

  /** What the sweeps use of a core, at a time of our choosing. */
  const coreAt = (now: Date) =>
    ({ database, now: () => now, log: pino({ level: "silent" }) }) as unknown as Core;
  const months = async (table: string) => {
    const { rows } = await database.query<{ name: string }>(
      "SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = $1::regclass ORDER BY 1",
      [table],
    );
    return rows.map(({ name }) => name);
  };
  const count = async (table: string) => {
    const { rows } = await database.query<{ n: number }>(`SELECT count(*)::int AS n FROM ${table}`);
    return rows[0]?.n;
  };
  /** A row of every table that ages, as of `at`. */
  async function live(at: Date, name: string): Promise<void> {
    await appendEvents(database.pool, [newEvent(name)]);
    await database.query(
      `WITH moved AS (DELETE FROM events WHERE body = $2 RETURNING *)
       INSERT INTO events (received_at, id, xid, workspace_id, message_id, leaf, service, account, fan_out, body)
       SELECT $1, id, xid, workspace_id, message_id, leaf, service, account, fan_out, body FROM moved`,
      [at, Buffer.from(name)],
    );
    await database.query(
      `INSERT INTO identities (id, workspace_id, user_id, service, home, instance, state, settings, unlinked_at)
       VALUES ($1, 'acme', 'u', 'irc', 'p', 'p', 'unlinked', '{}', $2)`,
      [name, at],
    );
    await database.query(
      `INSERT INTO intents (id, workspace_id, user_id, identity_id, service, action, payload, content, idempotency_key,
                            trace_id, state, created_at, updated_at)
       VALUES ($1, 'acme', 'u', $1, 'irc', 'outbound_message', '{}', '\\x00', 'k', 't', 'sent', $2, $2)`,
      [name, at],
    );
    await database.query(
      "INSERT INTO intent_steps (at, intent_id, state, attempt) VALUES ($2, $1, 'sent', 1)",
      [name, at],
    );
    await database.query(
      `INSERT INTO quarantine (at, code, detail, routing_key, body, body_hash) VALUES ($2, 'c', 'd', 'r', $1, $1)`,
      [Buffer.from(name), at],
    );
    await database.query(
      `INSERT INTO auth_sessions (id, workspace_id, user_id, service, identity_id, state, expires_at, changed_at)
       VALUES ($1, 'acme', 'u', 'irc', $1, 'linked', $2, $2)`,
      [name, at],
    );
    await database.query(
      `INSERT INTO contacts (workspace_id, identity_id, ref, kind, name, updated_at)
       VALUES ('acme', $1, 'r', 'contact', 'n', $2)`,
      [name, at],
    );
    await database.query(
      `INSERT INTO audit_entries (at, workspace_id, actor, action, subject) VALUES ($2, 'acme', 'core', 'a', $1)`,
      [name, at],
    );
  }

  test("two years of months: intake goes on, what is old goes away, keys and audit stay", async () => {
    const start = new Date();
    const retention = { days: 60 };
    let day = 0;
    for (; day <= 730; day += STEP_DAYS) {
      const now = new Date(start.getTime() + day * DAY_MS);
      await sweepMonths(coreAt(now));
      await live(now, `day ${day}`);
      expect(await advancePositions(database)).toMatchObject({ count: 1 });
      await sweepRetention(coreAt(now), retention);
    }
    const lived = day / STEP_DAYS;
    // 60 days, to the month: at most 92.
    const kept = Math.ceil(92 / STEP_DAYS) + 1;
    for (const table of [
      "events",
      "event_positions",
      "intents",
      "intent_steps",
      "quarantine",
      "auth_sessions",
      "contacts",
    ]) {
      const n = await count(table);
      expect([table, n !== undefined && n >= 2 && n <= kept]).toEqual([table, true]);
    }
    expect(await count("event_positions")).toBe(await count("events"));
    expect(await count("inbox_keys")).toBe(lived);
    expect(await count("audit_entries")).toBe(lived);
    // The current month and those made ahead, of the database's own time too, and what is kept.
    expect((await months("events")).length).toBeLessThan(14);
    // What was taken in once is known for ever.
    expect((await appendEvents(database.pool, [newEvent("day 0")])).size).toBe(0);
    const events = await readEvents(database.pool, { workspaceId: "acme", after: 0, limit: 100 });
    expect(events.at(-1)?.body.toString()).toBe(`day ${day - STEP_DAYS}`);

    const end = new Date(start.getTime() + day * DAY_MS);
    await sweepRetention(coreAt(end), { ...retention, auditDays: 365 });
    expect(await count("audit_entries")).toBeLessThan(lived);
  });

  test("a month is made beside a running backup, and intake does not wait for it", async () => {
    await using _backup = await holding(
      "LOCK TABLE events, intent_steps, audit_entries IN ACCESS SHARE MODE",
    );
    const later = new Date(Date.now() + 300 * DAY_MS);
    expect((await ensurePartitions(database, later)).length).toBeGreaterThan(0);
    expect((await appendEvents(database.pool, [newEvent("beside the backup")])).size).toBe(1);
  });

  test("an old month goes away beside a running backup: intake does not wait, a later sweep finishes it", async () => {
    const old = new Date("2020-01-15T00:00:00Z");
    await ensurePartitions(database, old);
    const backup = await holding("SELECT count(*) FROM events", "REPEATABLE READ");
    const dropping = dropPartitions(database, "events", new Date("2020-03-01T00:00:00Z"));
    const taken: number[] = [];
    const outcome = dropping.then(
      () => "dropped",
      (error: unknown) => (error as { code: string }).code,
    );
    for (let done = false; !done; ) {
      done = await Promise.race([outcome.then(() => true), appended(taken)]);
    }
    expect(await outcome).toBe("store.unavailable");
    for (const ms of taken) expect(ms).toBeLessThan(1_500);
    await backup[Symbol.asyncDispose]();
    expect((await dropPartitions(database, "events", new Date("2020-03-01T00:00:00Z"))).toSorted()).toEqual([
      "events_2020_01",
      "events_2020_02",
    ]);
    expect((await months("events")).filter((name) => name < "events_2020_03")).toEqual([]);
  });

  async function appended(taken: number[]): Promise<false> {
    const startedAt = performance.now();
    await appendEvents(database.pool, [newEvent(randomUUID())]);
    taken.push(performance.now() - startedAt);
    return false;
  }

  async function holding(sql: string, isolation = "READ COMMITTED"): Promise<AsyncDisposable> {
    const client = await database.forLongWork().pool.connect();
    await client.query(`BEGIN ISOLATION LEVEL ${isolation}`);
    await client.query(sql);
    return {
      async [Symbol.asyncDispose]() {
        await client.query("COMMIT");
        client.release(true);
      },
    };
  }

  test("what is swept in batches is swept completely, and in-use rows stay", async () => {
    await database.query(
      `INSERT INTO identities (id, workspace_id, user_id, service, home, instance, state, settings)
       VALUES ('i', 'acme', 'u', 'irc', 'p', 'p', 'linked', '{}')`,
    );
    await database.query(
      `INSERT INTO intents (id, workspace_id, user_id, identity_id, service, action, payload, content, idempotency_key,
                            trace_id, state, created_at, updated_at)
       SELECT 'm' || i, 'acme', 'u', 'i', 'irc', 'outbound_message', '{}', '\\x00', 'k', 't',
              CASE WHEN i % 1000 = 0 THEN 'held' ELSE 'sent' END, now() - interval '1 year', now() - interval '1 year'
         FROM generate_series(1, 12000) i`,
    );
    await database.query(
      "INSERT INTO event_positions SELECT i, 'acme', i, now() - interval '1 year', '5' FROM generate_series(1, 12000) i",
    );
    await database.query("INSERT INTO event_positions VALUES (12001, 'acme', 12001, now(), '6')");
    await sweepRetention(coreAt(new Date()), { days: 90 });
    expect([await count("intents"), await count("event_positions")]).toEqual([12, 1]);
  });

  test("the clock of a process that is years ahead destroys nothing", async () => {
    await appendEvents(database.pool, [newEvent("today")]);
    expect(await advancePositions(database)).toMatchObject({ count: 1 });
    await database.query(
      `INSERT INTO identities (id, workspace_id, user_id, service, home, instance, state, settings)
       VALUES ('i', 'acme', 'u', 'irc', 'p', 'p', 'linked', '{}')`,
    );
    await database.query(
      `INSERT INTO intents (id, workspace_id, user_id, identity_id, service, action, payload, content, idempotency_key,
                            trace_id, state)
       VALUES ('m', 'acme', 'u', 'i', 'irc', 'outbound_message', '{}', '\\x00', 'k', 't', 'sent')`,
    );
    await sweepRetention(coreAt(new Date(Date.now() + 900 * DAY_MS)), { days: 90, auditDays: 90 });
    expect([await count("events"), await count("event_positions"), await count("intents")]).toEqual([
      1, 1, 1,
    ]);
    expect((await appendEvents(database.pool, [newEvent("still taken in")])).size).toBe(1);
  });

  test("an expired link session leaves no identity half made", async () => {
    await database.query(
      `INSERT INTO identities (id, workspace_id, user_id, service, home, instance, state, settings)
       SELECT n, 'acme', 'u', 'irc', 'p', 'p', 'pending', '{}' FROM unnest(ARRAY['over', 'open']) n`,
    );
    await database.query(
      `INSERT INTO auth_sessions (id, workspace_id, user_id, service, identity_id, state, expires_at) VALUES
        ('s1', 'acme', 'u', 'irc', 'over', 'awaiting_user', now() - interval '1 minute'),
        ('s2', 'acme', 'u', 'irc', 'open', 'awaiting_user', now() + interval '10 minutes')`,
    );
    expect(await sweepSessions(coreAt(new Date()))).toBe(1);
    const { rows } = await database.query("SELECT id, state FROM identities ORDER BY id");
    expect(rows).toEqual([
      { id: "open", state: "pending" },
      { id: "over", state: "unlinked" },
    ]);
  });

  test("sweeps of two processes at once do not disturb each other", async () => {
    const later = new Date(Date.now() + 400 * DAY_MS);
    await Promise.all([ensurePartitions(database, later), ensurePartitions(database, later)]);
    await until(async () => (await months("events")).includes(`events_${monthOf(later)}`), {
      what: "the month",
    });
  });

  const monthOf = (at: Date) => at.toISOString().slice(0, 7).replace("-", "_");
});

/** Claiming costs what it claims, and holds its promises when many do everything at once. */
import {
  claimAlone,
  claimLease,
  claimStatement,
  claimTurns,
  Database,
  dequeue,
  mendDueTimes,
  migrate,
  msUntilDue,
  postpone,
  unparkStranded,
} from "@linkspan/store";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { describeWithServers } from "../servers/available.ts";
import { type PostgresServer, startPostgres } from "../servers/postgres.ts";
import { insertQueued, newIntent } from "./intents.ts";

interface PlanNode {
  readonly "Node Type": string;
  readonly "Relation Name"?: string;
  readonly "Actual Rows": number;
  readonly "Actual Loops": number;
  readonly "Rows Removed by Filter"?: number;
  readonly Plans?: readonly PlanNode[];
}

const CREDIT = 4;
const OPTIONS = { limit: 50, credit: CREDIT, overdueMs: 30_000 };

describeWithServers(["postgres"], "outbox", () => {
  let server: PostgresServer;
  let database: Database;

  beforeAll(async () => {
    server = await startPostgres({ settings: { fsync: "off", synchronous_commit: "off" } });
    database = new Database(await server.createDatabase("outbox"), { maxConnections: 24 });
    await migrate(database);
  });
  afterAll(async () => {
    await database?.[Symbol.asyncDispose]();
    await server?.[Symbol.asyncDispose]();
  });
  beforeEach(async () => {
    await database.query("TRUNCATE intents, outbox, lanes, identities, instance_leases CASCADE");
    const claim = { service: "irc", instance: "p", holder: "h", kid: "k", ttlMs: 600_000 };
    await claimLease(database.pool, claim);
  });

  /** One intent in each of as many lanes, of as many identities. */
  async function fill(lanes: number, identities: number): Promise<void> {
    await database.query(
      `INSERT INTO identities (id, workspace_id, user_id, service, home, instance, state, settings)
       SELECT 'i' || i, 'acme', 'u', 'irc', 'p', 'p', 'linked', '{}' FROM generate_series(0, $1::int - 1) i`,
      [identities],
    );
    const intents = Array.from({ length: lanes }, (_, at) =>
      newIntent(`m${at + 1}`, { identityId: `i${(at + 1) % identities}`, conversation: `m${at + 1}` }),
    );
    await insertQueued(database.pool, intents, "p");
    await database.query("ANALYZE");
  }

  /** Rows of `lanes` and `intents` that a claim reads, and whether it read a whole table. */
  async function reads(): Promise<{ rows: number; whole: string[] }> {
    const result = await database.transaction(async (client) => {
      await claimAlone(client);
      return client.query<{ "QUERY PLAN": [{ Plan: PlanNode }] }>(
        `EXPLAIN (ANALYZE, FORMAT JSON) ${claimStatement(OPTIONS.limit)}`,
        [CREDIT, 30_000, 1_000_000, []],
      );
    });
    const whole: string[] = [];
    let rows = 0;
    const walk = (node: PlanNode): void => {
      const relation = node["Relation Name"];
      if (relation === "lanes" || relation === "intents") {
        if (node["Node Type"] !== "ModifyTable") {
          rows += (node["Actual Rows"] + (node["Rows Removed by Filter"] ?? 0)) * node["Actual Loops"];
          if (node["Node Type"] === "Seq Scan") whole.push(relation);
        }
      }
      for (const child of node.Plans ?? []) walk(child);
    };
    walk(result.rows[0]?.["QUERY PLAN"][0].Plan as PlanNode);
    return { rows, whole };
  }

  test("a claim reads what it claims, however many lanes wait, for later, for credit, or for a daemon", async () => {
    await fill(5_000, 5_000);
    const all = await reads();
    expect(all.whole).toEqual([]);
    expect(all.rows).toBeGreaterThan(0);
    expect(all.rows).toBeLessThan(OPTIONS.limit * 10);
    await database.query("UPDATE lanes SET due_at = now() + interval '1 hour'");
    // At most the heads that are out since the first claim.
    expect((await reads()).rows).toBeLessThanOrEqual(OPTIONS.limit);
    await database.query("UPDATE lanes SET due_at = now()");
    await database.query("UPDATE instance_leases SET expires_at = now()");
    expect(await reads()).toEqual({ rows: 0, whole: [] });
    expect(await msUntilDue(database.pool)).toBeUndefined();
  });

  test("lanes without credit are read once; each end of a head lets one of them go", async () => {
    await fill(1_000, 1);
    const claimed: string[] = [];
    while ((await msUntilDue(database.pool)) === 0)
      for (const { intent } of await claimTurns(database, OPTIONS)) claimed.push(intent.id);
    expect(claimed).toHaveLength(CREDIT);
    await database.query("UPDATE lanes SET due_at = now() - interval '1 s' WHERE parked");
    expect((await reads()).rows).toBeLessThan(2 * CREDIT);
    const done = new Set<string>();
    while (claimed.length > 0) {
      const [id = "", other = ""] = claimed.splice(0, 2);
      done.add(id).add(other);
      await database.transaction((client) => dequeue(client, [id, other]));
      for (const turn of await claimTurns(database, OPTIONS)) claimed.push(turn.intent.id);
      expect(claimed.length).toBeLessThanOrEqual(CREDIT);
    }
    expect(done.size).toBe(1_000);
  });

  test("the database's clock goes back: what waits and what is out is due, what was put off stays so", async () => {
    await fill(10, 10);
    const [late, ...out] = await claimTurns(database, { ...OPTIONS, limit: 5 });
    await postpone(database.pool, [late?.intent.id ?? ""], 3_600_000);
    const waiting = "SELECT intent_id FROM lanes WHERE published_at IS NULL AND due_at <= now()";
    expect((await database.query(waiting)).rows).toHaveLength(5);
    await database.query(
      `UPDATE lanes SET due_at = due_at + interval '1 hour', published_at = published_at + interval '1 hour'
        WHERE intent_id <> $1`,
      [late?.intent.id],
    );
    await database.query("UPDATE intents SET updated_at = updated_at + interval '1 hour' WHERE id <> $1", [
      late?.intent.id,
    ]);
    expect(await claimTurns(database, OPTIONS)).toEqual([]);
    expect(await mendDueTimes(database.pool, OPTIONS.overdueMs)).toBe(9);
    const turns = await claimTurns(database, OPTIONS);
    expect(turns).toHaveLength(9);
    expect(turns.filter(({ intent }) => intent.attempt === 2)).toHaveLength(out.length);
    expect(await mendDueTimes(database.pool, OPTIONS.overdueMs)).toBe(0);
  });

  test("a claim takes no more bytes than it is given, and one intent in any case", async () => {
    await fill(10, 10);
    await database.query("UPDATE lanes SET bytes = 1000");
    expect(await claimTurns(database, { ...OPTIONS, maxBytes: 3_000 })).toHaveLength(3);
    expect(await claimTurns(database, { ...OPTIONS, maxBytes: 1 })).toHaveLength(1);
  });

  test("many that record, claim, put off and end at once: every intent has its turn, within the credit", async () => {
    const identities = 3;
    const perWriter = 40;
    await fill(0, identities);
    const waiting: string[] = [];
    let ended = 0;
    let most = 0;
    const writers = Array.from({ length: 6 }, async (_, writer) => {
      for (let i = 0; i < perWriter; i++) {
        const id = `w${writer}.${i}`;
        const identityId = `i${i % identities}`;
        const intent = newIntent(id, { identityId, conversation: `lane ${i % 7}` });
        await database.transaction((client) => insertQueued(client, [intent], "p"));
      }
    });
    const claimers = Array.from({ length: 3 }, async () => {
      while (ended < 6 * perWriter) {
        for (const { intent } of await claimTurns(database, OPTIONS)) waiting.push(intent.id);
        const { rows } = await database.query<{ n: number }>(
          `SELECT coalesce(max(n), 0)::int AS n FROM (
             SELECT count(*) AS n FROM lanes WHERE published_at IS NOT NULL GROUP BY identity_id) o`,
        );
        most = Math.max(most, rows[0]?.n ?? 0);
        await unparkStranded(database.pool, CREDIT);
      }
    });
    const enders = Array.from({ length: 4 }, async (_, n) => {
      while (ended < 6 * perWriter) {
        const id = waiting.shift();
        if (id === undefined) {
          await new Promise((resolve) => setImmediate(resolve));
          continue;
        }
        if (n === 0) {
          await database.transaction((client) => postpone(client, [id], 0));
          continue;
        }
        await database.transaction(async (client) => {
          await client.query("SELECT 1 FROM intents WHERE id = $1 FOR UPDATE", [id]);
          await dequeue(client, [id]);
        });
        ended += 1;
      }
    });
    await Promise.all([...writers, ...claimers, ...enders]);
    expect(most).toBeGreaterThan(0);
    expect(most).toBeLessThanOrEqual(CREDIT);
    expect((await database.query("SELECT * FROM lanes")).rows).toEqual([]);
    expect((await database.query("SELECT * FROM outbox")).rows).toEqual([]);
  });

  test("lanes of one identity that end together, parked and not, leave no head that has ended", async () => {
    await fill(3 * CREDIT, 1);
    const next = [1, 2 * CREDIT].map((n) =>
      newIntent(`next${n}`, { identityId: "i0", conversation: `m${n}` }),
    );
    await insertQueued(database.pool, next, "p");
    expect(await claimTurns(database, OPTIONS)).toHaveLength(CREDIT);
    await database.transaction((client) =>
      dequeue(
        client,
        Array.from({ length: 3 * CREDIT }, (_, n) => `m${n + 1}`),
      ),
    );
    const { rows } = await database.query<{ intent_id: string; parked: boolean }>(
      "SELECT intent_id, parked FROM lanes ORDER BY intent_id",
    );
    expect(rows).toEqual(
      next
        .map(({ id }) => ({ intent_id: id, parked: false }))
        .toSorted((a, b) => (a.intent_id < b.intent_id ? -1 : 1)),
    );
  });
});

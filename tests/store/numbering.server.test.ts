/**
 * Numbering gives each committed event one position, whatever happens to the database: open transactions, a
 * restore into another cluster, clocks that jump, a failover.
 */
import { randomUUID } from "node:crypto";
import { advancePositions, appendEvents, Database, lastPosition, migrate, readEvents } from "@linkspan/store";
import fc from "fast-check";
import type pg from "pg";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { describeWithServers } from "../servers/available.ts";
import { type PostgresServer, startPostgres } from "../servers/postgres.ts";
import { digest, newEvent } from "./events.ts";

const GAP = 1_000_000;

describeWithServers(["postgres"], "numbering", () => {
  let server: PostgresServer;
  let other: PostgresServer;
  let url: string;
  let database: Database;

  beforeAll(async () => {
    [server, other] = await Promise.all([startPostgres(), startPostgres()]);
  });
  afterAll(async () => {
    await server?.[Symbol.asyncDispose]();
    await other?.[Symbol.asyncDispose]();
  });
  beforeEach(async () => {
    url = await server.migratedDatabase(`n${randomUUID().replaceAll("-", "")}`);
    database = new Database(url, { maxConnections: 12 });
    return () => database[Symbol.asyncDispose]();
  });

  const put = (name: string, on: pg.Pool | pg.PoolClient = database.pool) =>
    appendEvents(on, [newEvent(name)]);
  const read = async (from: Database) =>
    (await readEvents(from.pool, { workspaceId: "acme", after: 0, limit: 10_000 })).map(
      ({ position, body }) => ({
        position,
        name: body.toString(),
      }),
    );
  const advanceAll = async (on: Database, limit?: number) => {
    while ((await advancePositions(on, limit)) !== undefined);
  };
  const restored = async (into: PostgresServer): Promise<Database> => {
    const copy = await into.createDatabase(`r${randomUUID().replaceAll("-", "")}`);
    await into.load(copy, await server.dump(url));
    return new Database(copy);
  };
  /** As months of use do: the transaction ids of this cluster are far ahead of a fresh one. */
  const age = (transactions: number) =>
    database.query(
      `DO $$ BEGIN FOR i IN 1..${transactions} LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$`,
    );

  test("after a restore into a cluster with lower transaction ids everything goes on, and keeps its number", async () => {
    await age(20_000);
    for (const name of ["a", "b", "c"]) await put(name);
    await advanceAll(database);
    const before = await read(database);
    // The backup is taken while one transaction is open, and before the last row got its number.
    await put("not numbered yet");
    const open = await database.pool.connect();
    await open.query("BEGIN");
    await put("never committed", open);
    await using copy = await restored(other);
    await open.query("ROLLBACK");
    open.release();

    await put("before the first look", copy.pool);
    expect(await advancePositions(copy)).toEqual({ position: GAP + 5, count: 2, moved: true });
    await put("after it", copy.pool);
    await advanceAll(copy);
    const after = await read(copy);
    expect(after.slice(0, 3)).toEqual(before);
    expect(after.slice(3).map(({ name }) => name)).toEqual([
      "not numbered yet",
      "before the first look",
      "after it",
    ]);
    // A reader whose cursor is ahead of the backup must not miss what is new.
    for (const { position } of after.slice(3)) expect(position).toBeGreaterThan(GAP);
  });

  test("old transaction ids that the new cluster reaches later are not numbered again", async () => {
    await age(3_000);
    for (let i = 0; i < 20; i++) await put(`old ${i}`);
    await advanceAll(database);
    await using copy = await restored(other);
    await advanceAll(copy);
    for (let round = 0; round < 6; round++) {
      await copy.query(
        "DO $$ BEGIN FOR i IN 1..1000 LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$",
      );
      await put(`new ${round}`, copy.pool);
      await advanceAll(copy);
    }
    const names = (await read(copy)).map(({ name }) => name);
    expect(names).toHaveLength(26);
    expect(new Set(names).size).toBe(26);
  });

  test("a restore into the same cluster and back again is noticed too", async () => {
    await put("a");
    await advanceAll(database);
    await using copy = await restored(server);
    await put("b", copy.pool);
    expect(await advancePositions(copy)).toMatchObject({ count: 1, moved: true });
    expect(await advancePositions(copy)).toBeUndefined();
    expect((await read(copy)).map(({ name }) => name)).toEqual(["a", "b"]);
  });

  test("a row whose transaction was open during the move gets its number when it commits", async () => {
    await put("a");
    await advanceAll(database);
    await using copy = await restored(other);
    const open = await copy.pool.connect();
    // It has its transaction id, but has not touched the log yet.
    await open.query("BEGIN; UPDATE namespace SET name = name; SELECT pg_current_xact_id()");
    await put("b", copy.pool);
    await advanceAll(copy);
    await put("late", open);
    await open.query("COMMIT");
    open.release();
    await advanceAll(copy);
    expect((await read(copy)).map(({ name }) => name)).toEqual(["a", "b", "late"]);
  });

  test("a move halfway through a large step numbers the rest once", async () => {
    for (let i = 0; i < 30; i++) await put(`e${i}`);
    await advancePositions(database, 7);
    await using copy = await restored(other);
    await advanceAll(copy, 7);
    expect((await read(copy)).map(({ name }) => name)).toEqual(Array.from({ length: 30 }, (_, i) => `e${i}`));
  });

  test("clocks that jump forward and back by days and months skip no row and stop nothing", async () => {
    const days = [0, 2, -2, 60, -20, 0, 1, -1];
    for (const [i, by] of days.entries()) {
      await monthFor(by);
      await database.query(
        `INSERT INTO events (received_at, workspace_id, message_id, leaf, service, account, fan_out, body)
         VALUES (now() + make_interval(days => $1), 'acme', $2, $2, 'irc', 'a', true, $3)`,
        [by, digest(`jump ${i}`), Buffer.from(`jump ${i}`)],
      );
      expect(await advancePositions(database)).toMatchObject({ count: 1 });
    }
    expect((await read(database)).map(({ name }) => name)).toEqual(days.map((_, i) => `jump ${i}`));
  });

  async function monthFor(days: number): Promise<void> {
    const at = new Date(Date.now() + days * 86_400_000);
    const [from, to] = [0, 1].map(
      (offset) => new Date(Date.UTC(at.getUTCFullYear(), at.getUTCMonth() + offset, 1)),
    );
    const name = `events_${from?.toISOString().slice(0, 7).replace("-", "_")}`;
    await database.query(
      `CREATE TABLE IF NOT EXISTS ${name} PARTITION OF events FOR VALUES FROM ('${from?.toISOString()}') TO ('${to?.toISOString()}')`,
    );
  }

  test("a database of before the change keeps its numbers", async () => {
    await using old = new Database(await server.createDatabase("before"));
    await migrate(old, { upTo: "0030-lanes.sql" });
    // A later migration adds this column, and the code of today writes it.
    await old.query("ALTER TABLE events ADD COLUMN batch_id bytea");
    for (const name of ["a", "b", "c"]) await put(name, old.pool);
    await old.query("ALTER TABLE events DROP COLUMN batch_id");
    // The seat of that time: the last row that has its number.
    await old.query(`
      INSERT INTO event_positions (position, workspace_id, event_id, received_at, xid)
      SELECT row_number() OVER (ORDER BY id), workspace_id, id, received_at, xid FROM events WHERE body <> 'c';
      UPDATE sequencer SET position = 2, xid = e.xid, event_id = e.id, received_at = e.received_at FROM events e
       WHERE e.body = 'b'`);
    await migrate(old);
    await put("d", old.pool);
    await advanceAll(old);
    expect(await read(old)).toEqual([
      { position: 1, name: "a" },
      { position: 2, name: "b" },
      { position: 3, name: "c" },
      { position: 4, name: "d" },
    ]);
  });

  test("whatever commits, rolls back and is looked at in between: one number each, commits in order", async () => {
    const lanes = 4;
    const step = fc.oneof(
      fc.record({ do: fc.constant("write" as const), lane: fc.nat(lanes - 1), commit: fc.boolean() }),
      fc.record({ do: fc.constant("open" as const), lane: fc.nat(lanes - 1) }),
      fc.record({ do: fc.constant("end" as const), lane: fc.nat(lanes - 1), commit: fc.boolean() }),
      fc.record({ do: fc.constant("advance" as const), limit: fc.integer({ min: 1, max: 4 }) }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
        const run = randomUUID();
        const start = await lastPosition(database);
        const open = new Map<number, { client: pg.PoolClient; wrote: string[] }>();
        const committed: string[][] = Array.from({ length: lanes }, () => []);
        let n = 0;
        const end = async (lane: number, commit: boolean) => {
          const one = open.get(lane);
          if (one === undefined) return;
          await one.client.query(commit ? "COMMIT" : "ROLLBACK");
          one.client.release();
          open.delete(lane);
          if (commit) committed[lane]?.push(...one.wrote);
        };
        for (const one of steps) {
          if (one.do === "advance") await advancePositions(database, one.limit);
          else if (one.do === "end") await end(one.lane, one.commit);
          else {
            if (!open.has(one.lane)) {
              const client = await database.pool.connect();
              await client.query("BEGIN");
              open.set(one.lane, { client, wrote: [] });
            }
            if (one.do === "open") await open.get(one.lane)?.client.query("SELECT pg_current_xact_id()");
            else {
              const name = `${run} ${one.lane} ${++n}`;
              const lane = open.get(one.lane);
              if (lane !== undefined) await put(name, lane.client);
              lane?.wrote.push(name);
              await end(one.lane, one.commit);
            }
          }
        }
        for (const lane of open.keys()) await end(lane, true);
        await advanceAll(database, 3);
        const seen = (await read(database)).filter(({ position }) => position > start);
        expect(seen.map(({ position }) => position)).toEqual(seen.map((_, i) => start + i + 1));
        for (const [lane, names] of committed.entries()) {
          const ofLane = seen
            .filter(({ name }) => name.startsWith(`${run} ${lane} `))
            .map(({ name }) => name);
          expect(ofLane).toEqual(names);
        }
        expect(seen).toHaveLength(committed.flat().length);
      }),
      { numRuns: 60 },
    );
  });
});

/** The kind: a lease that an outage takes from its holder, or that nobody can follow a dead holder in. */
import { claimLease, Database, migrate, releaseLease } from "@linkspan/store";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { describeWithServers } from "../servers/available.ts";
import { type PostgresServer, startPostgres } from "../servers/postgres.ts";

const LEASE = { service: "irc", instance: "primary", kid: "k", ttlMs: 6_000, stayMs: 300_000 };

describeWithServers(["postgres"], "a lease with two ends", () => {
  let server: PostgresServer;
  let database: Database;

  beforeAll(async () => {
    server = await startPostgres();
    database = new Database(await server.createDatabase("lease"));
    await migrate(database);
  });
  beforeEach(() => database.query("TRUNCATE instance_leases"));
  afterAll(async () => {
    await database?.[Symbol.asyncDispose]();
    await server?.[Symbol.asyncDispose]();
  });

  const ask = (holder: string) => claimLease(database.pool, { ...LEASE, holder });
  /** Lets so many seconds pass, for the lease and for what was heard. */
  const pass = (seconds: number) =>
    database.query(
      `UPDATE instance_leases SET expires_at = expires_at - make_interval(secs => $1),
              stay_until = stay_until - make_interval(secs => $1),
              heard_since = heard_since - make_interval(secs => $1), heard_at = heard_at - make_interval(secs => $1)`,
      [seconds],
    );
  /** The second asks every second, as a waiting process does. @returns after how many seconds it was given */
  async function wait(seconds: number): Promise<number | undefined> {
    for (let second = 1; second <= seconds; second++) {
      await pass(1);
      if ((await ask("second")).state === "held") return second;
    }
    return undefined;
  }

  test("a killed holder is followed by one that waits as soon as its lease has run out", async () => {
    await ask("first");
    for (let beat = 0; beat < 5; beat++) {
      expect(await wait(2)).toBeUndefined();
      expect(await ask("first")).toMatchObject({ state: "held", epoch: 1 });
    }
    const seconds = await wait(20);
    expect(seconds).toBeGreaterThanOrEqual(6);
    expect(seconds).toBeLessThanOrEqual(8);
    expect(await ask("second")).toMatchObject({ state: "held", epoch: 2 });
    expect(await ask("first")).toMatchObject({ state: "taken" });
  });

  test("after an outage of minutes the holder has its lease, though another asks first", async () => {
    await ask("first");
    await wait(3);
    await pass(200);
    expect(await ask("second")).toMatchObject({ state: "taken" });
    expect(await wait(4)).toBeUndefined();
    expect(await ask("first")).toMatchObject({ state: "held", epoch: 1 });
  });

  test("a holder that does not come back after an outage is followed when others were heard for a whole lease", async () => {
    await ask("first");
    await pass(100);
    expect(await ask("second")).toMatchObject({ state: "taken" });
    const seconds = await wait(20);
    expect(seconds).toBeGreaterThanOrEqual(6);
    expect(seconds).toBeLessThanOrEqual(8);
  });

  test.each([
    ["an hour", 3_600],
    ["a day", 86_400],
  ])(
    "the database's clock goes back %s: a dead holder is followed as soon as ever",
    async (_name, seconds) => {
      await ask("first");
      await pass(-seconds);
      const waited = await wait(30);
      expect(waited).toBeGreaterThanOrEqual(6);
      expect(waited).toBeLessThanOrEqual(16);
    },
  );

  test("the database's clock goes back: a holder that renews keeps its lease", async () => {
    await ask("first");
    await pass(-3_600);
    expect(await wait(2)).toBeUndefined();
    for (let beat = 0; beat < 5; beat++) {
      expect(await ask("first")).toMatchObject({ state: "held", epoch: 1 });
      expect(await wait(2)).toBeUndefined();
    }
  });

  test("one who asks with pauses shows nothing: the outage may be in the pauses", async () => {
    await ask("first");
    await pass(7);
    for (let again = 0; again < 10; again++) {
      expect(await ask("second")).toMatchObject({ state: "taken" });
      await pass(4);
    }
  });

  test("past its second end, or given back, it is anybody's at once", async () => {
    await ask("first");
    await pass(301);
    expect(await ask("second")).toMatchObject({ state: "held", epoch: 2 });
    await releaseLease(database.pool, { ...LEASE, holder: "second" });
    expect(await ask("third")).toMatchObject({ state: "held", epoch: 3 });
  });

  test("a holder that knows one end only has no second one", async () => {
    const { stayMs: _none, ...one } = LEASE;
    await claimLease(database.pool, { ...one, holder: "first" });
    await pass(6);
    expect(await ask("second")).toMatchObject({ state: "held", epoch: 2 });
  });
});

/** The outbox under everything that can go wrong, in random orders: nothing stays, nothing overtakes, nothing is said twice. */
import { Database, migrate } from "@linkspan/store";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { describeWithServers } from "../servers/available.ts";
import { type PostgresServer, startPostgres } from "../servers/postgres.ts";
import { type Deed, OutboxModel } from "./outbox-model.ts";

const IDENTITIES = ["alice", "bob"];
const LANES = ["a", "b", "c", "d"];

const pick = fc.nat(50);
const deed = fc.constantFrom<Deed>(
  "say",
  "say",
  "say-silently",
  "fail",
  "defer",
  "vanish",
  "fail-unasked",
  "defer-unasked",
);

/** One thing that happens, with how often it is drawn. */
const happening = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant("record" as const),
      identity: fc.constantFrom(...IDENTITIES),
      lane: fc.constantFrom(...LANES),
      parts: fc.integer({ min: 1, max: 3 }),
    }),
  },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("claim" as const), lost: fc.boolean() }) },
  { weight: 8, arbitrary: fc.record({ kind: fc.constant("work" as const), pick, deed }) },
  { weight: 6, arbitrary: fc.record({ kind: fc.constant("deliver" as const), pick, again: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("lose" as const), pick }) },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant("pass" as const), ms: fc.constantFrom(25_000, 60_000) }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("take-over" as const), keep: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("cancel" as const), pick }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("expire" as const), pick }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("resolve" as const), pick }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant("unlink" as const), identity: fc.constantFrom(...IDENTITIES) }),
  },
);
type Happening = typeof happening extends fc.Arbitrary<infer T> ? T : never;

async function happens(model: OutboxModel, what: Happening): Promise<void> {
  switch (what.kind) {
    case "record":
      return model.record(what.identity, what.lane, what.parts);
    case "claim":
      await model.claim(what.lost);
      return;
    case "work":
      return model.work(what.pick, what.deed);
    case "deliver":
      return model.deliver(what.pick, what.again);
    case "lose":
      return model.loseReport(what.pick);
    case "pass":
      return model.pass(what.ms);
    case "take-over":
      return model.takeOver(what.keep);
    case "cancel":
      return model.cancel(what.pick);
    case "expire":
      return model.expire(what.pick);
    case "resolve":
      return model.resolve(what.pick);
    case "unlink":
      return model.unlink(what.identity);
  }
}

describeWithServers(["postgres"], "outbox", () => {
  let server: PostgresServer;
  let database: Database;

  beforeAll(async () => {
    server = await startPostgres({ settings: { fsync: "off", synchronous_commit: "off" } });
    database = new Database(await server.createDatabase("outbox"));
    await migrate(database);
  });
  afterAll(async () => {
    await database?.[Symbol.asyncDispose]();
    await server?.[Symbol.asyncDispose]();
  });

  test("every intent ends, one of a lane is out, in order, within the credit, and no part is said twice", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(happening, { minLength: 20, maxLength: 70 }), async (happenings) => {
        const model = new OutboxModel(database);
        await model.start(IDENTITIES);
        for (const what of happenings) {
          await happens(model, what);
          await model.check();
        }
        expect(await model.finish()).toEqual([]);
        await model.check();
      }),
      { numRuns: 25, plugins: [fc.interruptAfterTimeLimit(60_000)] },
    );
  });

  test("heads that were claimed by a core that died come back, however many hold the credit", async () => {
    const model = new OutboxModel(database);
    await model.start(IDENTITIES);
    for (const lane of LANES) await model.record("alice", lane, 1);
    const claimed = await model.claim(true);
    expect(claimed).toBe(2);
    expect(await model.claim(false)).toBe(0);
    await model.pass(31_000);
    expect(await model.claim(false)).toBe(2);
    expect(await model.finish()).toEqual([]);
  });
});

/** The repositories on a real PostgreSQL: what each promises, also when two processes want the same. */
import { createHash, randomUUID } from "node:crypto";
import {
  advancePositions,
  appendEvents,
  audit,
  auditTrail,
  checkpointOf,
  claimKeys,
  claimLease,
  claimTurns,
  currentLease,
  Database,
  dequeue,
  dropPartitions,
  expiredIntents,
  insertEnrolment,
  insertIdentity,
  knownContents,
  lastPosition,
  migrate,
  type NewEvent,
  postpone,
  quarantine,
  quarantineAll,
  quarantined,
  type Refused,
  readEvents,
  releaseLease,
  saveCheckpoint,
  spendEnrolment,
  stepsOf,
} from "@linkspan/store";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { describeWithServers } from "../servers/available.ts";
import { type PostgresServer, startPostgres } from "../servers/postgres.ts";
import { insertQueued, moveIntent, newIntent } from "./intents.ts";

const digest = (text: string) => createHash("sha256").update(text).digest();

function event(name: string, over: Partial<NewEvent> = {}): NewEvent {
  return {
    workspaceId: "acme",
    messageId: digest(name),
    content: digest(`content ${name}`),
    leaf: digest(`leaf ${name}`),
    service: "irc",
    account: "alice",
    conversation: "msgr://channels/acme/bridge/irc/libera/%23a",
    fanOut: true,
    kid: "kid",
    sig: "sig",
    body: Buffer.from(`body of ${name} \u0001 ü`),
    ...over,
  };
}

describeWithServers(["postgres"], "store", () => {
  let server: PostgresServer;
  let database: Database;

  beforeAll(async () => {
    server = await startPostgres();
  });
  afterAll(async () => {
    await server?.[Symbol.asyncDispose]();
  });
  beforeEach(async () => {
    database = new Database(await server.migratedDatabase(`t${randomUUID().replaceAll("-", "")}`));
    return () => database[Symbol.asyncDispose]();
  });

  async function identity(id: string, workspace = "acme"): Promise<void> {
    await insertIdentity(database.pool, {
      id,
      workspace_id: workspace,
      user_id: "u",
      service: "irc",
      instance: "primary",
      settings: { nick: id },
    });
  }

  const lease = { service: "irc", instance: "primary", kid: "k", ttlMs: 60_000 };
  const turnOptions = { limit: 100, credit: 16, overdueMs: 60_000 };

  async function queued(id: string, lane: string): Promise<void> {
    await insertQueued(database.pool, [newIntent(id, { conversation: lane })]);
  }

  const turns = async (over = {}) =>
    (await claimTurns(database, { ...turnOptions, ...over })).map((turn) => turn.intent.id);

  test("migrating again, and from two processes at once, changes nothing", async () => {
    await Promise.all([migrate(database), migrate(database)]);
    expect(await lastPosition(database)).toBe(0);
  });

  test("an event is stored once, byte for byte; a repeat inserts nothing", async () => {
    const events = [
      event("a"),
      event("b"),
      event("c", { conversation: undefined, kid: undefined, sig: undefined }),
    ];
    expect((await appendEvents(database.pool, events)).size).toBe(3);
    expect((await appendEvents(database.pool, [event("b"), event("d")])).size).toBe(1);
    expect(await advancePositions(database)).toEqual({ position: 4, count: 4 });
    const stored = await readEvents(database.pool, { workspaceId: "acme", after: 0, limit: 10 });
    expect(stored.map(({ position, body }) => [position, body.toString()])).toEqual([
      [1, "body of a \u0001 ü"],
      [2, "body of b \u0001 ü"],
      [3, "body of c \u0001 ü"],
      [4, "body of d \u0001 ü"],
    ]);
    expect(stored[2]).toMatchObject({ conversation: undefined, kid: undefined, account: "alice" });
  });

  test("the same id in two workspaces is two events, and neither reads the other's", async () => {
    await appendEvents(database.pool, [
      event("a"),
      event("a", { workspaceId: "rival", body: Buffer.from("theirs") }),
    ]);
    await advancePositions(database);
    const theirs = await readEvents(database.pool, { workspaceId: "rival", after: 0, limit: 10 });
    expect(theirs.map(({ body }) => body.toString())).toEqual(["theirs"]);
  });

  test("what is known of a key is its content", async () => {
    await appendEvents(database.pool, [event("a")]);
    const known = await knownContents(database.pool, [event("a"), event("z")]);
    expect([...known.values()]).toEqual([digest("content a")]);
  });

  test("an open transaction holds up its own rows only, and no reader misses them: positions follow commits", async () => {
    const slow = await database.pool.connect();
    await slow.query("BEGIN");
    await appendEvents(slow, [event("first")]);
    await appendEvents(database.pool, [event("second")]);
    expect(await advancePositions(database)).toEqual({ position: 1, count: 1 });
    await appendEvents(database.pool, [event("third.")]);
    await slow.query("COMMIT");
    slow.release();
    expect(await advancePositions(database)).toEqual({ position: 3, count: 2 });
    expect(await advancePositions(database)).toBeUndefined();
    const stored = await readEvents(database.pool, { workspaceId: "acme", after: 0, limit: 10 });
    expect(stored.map(({ position, body }) => [position, body.toString().slice(8, 14)])).toEqual([
      [1, "second"],
      [2, "first "],
      [3, "third."],
    ]);
  });

  test("a rolled-back row leaves no gap and no position", async () => {
    const doomed = await database.pool.connect();
    await doomed.query("BEGIN");
    await appendEvents(doomed, [event("doomed")]);
    await doomed.query("ROLLBACK");
    doomed.release();
    await appendEvents(database.pool, [event("kept")]);
    expect(await advancePositions(database)).toEqual({ position: 1, count: 1 });
  });

  test("two sequencers at once give every row one position", async () => {
    await appendEvents(
      database.pool,
      Array.from({ length: 500 }, (_, i) => event(`e${i}`)),
    );
    while ((await lastPosition(database)) < 500) {
      await Promise.all(Array.from({ length: 4 }, () => advancePositions(database, 50)));
    }
    const stored = await readEvents(database.pool, { workspaceId: "acme", after: 0, limit: 1_000 });
    expect(stored.map(({ position }) => position)).toEqual(Array.from({ length: 500 }, (_, i) => i + 1));
  });

  test("a status is applied once; the same id with other content is a conflict", async () => {
    const key = { workspaceId: "acme", messageId: digest("status"), content: digest("x") };
    const other = { ...key, content: digest("y") };
    const next = { ...key, messageId: digest("next") };
    expect(await claimKeys(database.pool, [key, key, other])).toEqual(["new", "duplicate", "conflict"]);
    expect(await claimKeys(database.pool, [other, next, key])).toEqual(["conflict", "new", "duplicate"]);
  });

  test("one holder per instance; its epoch grows with each change", async () => {
    expect(await claimLease(database.pool, { ...lease, holder: "one" })).toMatchObject({
      state: "held",
      epoch: 1,
      changed: true,
    });
    expect(await claimLease(database.pool, { ...lease, holder: "one" })).toMatchObject({
      state: "held",
      epoch: 1,
      changed: false,
    });
    expect(await claimLease(database.pool, { ...lease, holder: "two" })).toMatchObject({ state: "taken" });
    await releaseLease(database.pool, { ...lease, holder: "two" });
    expect((await currentLease(database.pool, "irc", "primary"))?.holder).toBe("one");
    await releaseLease(database.pool, { ...lease, holder: "one" });
    expect(await claimLease(database.pool, { ...lease, holder: "two" })).toMatchObject({
      state: "held",
      epoch: 2,
      changed: true,
    });
  });

  test("an older epoch's checkpoint changes nothing", async () => {
    expect(await saveCheckpoint(database.pool, "alice", { line: 1 }, 2)).toBe(true);
    expect(await saveCheckpoint(database.pool, "alice", { line: 0 }, 1)).toBe(false);
    expect(await checkpointOf(database.pool, "alice")).toEqual({ line: 1 });
  });

  test("nothing is claimed while nobody holds the instance", async () => {
    await identity("alice");
    await queued("a", "x");
    expect(await turns()).toEqual([]);
    await claimLease(database.pool, { ...lease, holder: "one" });
    expect(await turns()).toEqual(["a"]);
  });

  test("one unsettled intent per lane, in the order of recording", async () => {
    await identity("alice");
    await claimLease(database.pool, { ...lease, holder: "one" });
    for (const [id, lane] of [
      ["a", "x"],
      ["b", "x"],
      ["c", "y"],
      ["d", "x"],
    ] as const)
      await queued(id, lane);
    expect(await turns()).toEqual(["a", "c"]);
    expect(await turns()).toEqual([]);
    await dequeue(database.pool, ["a"]);
    expect(await turns()).toEqual(["b"]);
  });

  test("a postponed head holds its lane and no other", async () => {
    await identity("alice");
    await claimLease(database.pool, { ...lease, holder: "one" });
    for (const [id, lane] of [
      ["a", "x"],
      ["b", "x"],
      ["c", "y"],
    ] as const)
      await queued(id, lane);
    await turns();
    await postpone(database.pool, ["a"], 60_000);
    await dequeue(database.pool, ["c"]);
    expect(await turns()).toEqual([]);
    await postpone(database.pool, ["a"], 0);
    expect(await turns()).toEqual(["a"]);
  });

  test("credit bounds what one identity has out", async () => {
    await identity("alice");
    await claimLease(database.pool, { ...lease, holder: "one" });
    for (let i = 0; i < 5; i++) await queued(`i${i}`, `lane ${i}`);
    expect(await turns({ credit: 2 })).toEqual(["i0", "i1"]);
    expect(await turns({ credit: 2 })).toEqual([]);
    await dequeue(database.pool, ["i0"]);
    expect(await turns({ credit: 2 })).toEqual(["i2"]);
  });

  test("a new holder gets what the old one left, as the next attempt", async () => {
    await identity("alice");
    await claimLease(database.pool, { ...lease, holder: "one" });
    await queued("a", "x");
    await turns();
    await releaseLease(database.pool, { ...lease, holder: "one" });
    await claimLease(database.pool, { ...lease, holder: "two", kid: "k2" });
    const [turn] = await claimTurns(database, turnOptions);
    expect(turn).toMatchObject({ epoch: 2, kid: "k2", intent: { id: "a", attempt: 2 } });
  });

  test("what nobody spoke of for too long is out again; what goes on part by part is left alone", async () => {
    await identity("alice");
    await claimLease(database.pool, { ...lease, holder: "one" });
    await queued("silent", "x");
    await queued("busy", "y");
    await turns();
    await database.query("UPDATE lanes SET due_at = now() - interval '1 second'");
    await database.query("UPDATE intents SET updated_at = now() - interval '1 minute'");
    await moveIntent(database.pool, "busy", { state: "attempting", part: 3 });
    expect(await turns({ overdueMs: 30_000 })).toEqual(["silent"]);
  });

  test("two pumps at once never claim the same intent", async () => {
    await identity("alice");
    await claimLease(database.pool, { ...lease, holder: "one" });
    for (let i = 0; i < 40; i++) await queued(`i${i}`, `lane ${i}`);
    const claimed = (await Promise.all(Array.from({ length: 4 }, () => turns({ credit: 100 })))).flat();
    expect(claimed.toSorted()).toEqual(Array.from({ length: 40 }, (_, i) => `i${i}`).toSorted());
  });

  test("an intent id is recorded once, and its steps are kept", async () => {
    await identity("alice");
    await queued("a", "x");
    await expect(queued("a", "x")).rejects.toThrow("a was recorded before");
    await moveIntent(database.pool, "a", { state: "failed", code: "platform.forbidden" });
    expect((await stepsOf(database.pool, "a")).map(({ state, code }) => [state, code])).toEqual([
      ["queued", null],
      ["failed", "platform.forbidden"],
    ]);
  });

  test("of an intent that is put off for ever the newest steps are told, in their order, and no more", async () => {
    await identity("alice");
    await queued("a", "x");
    await database.query(
      `INSERT INTO intent_steps (at, intent_id, state, attempt)
       SELECT now() + i * interval '1 ms', 'a', 'queued', i FROM generate_series(1, 5000) i`,
    );
    const attempts = (await stepsOf(database.pool, "a")).map(({ attempt }) => attempt);
    expect(attempts).toEqual(Array.from({ length: 1_000 }, (_, i) => 4_001 + i));
  });

  test("what waits runs out of time at once, what is being attempted when its window is long over", async () => {
    await identity("alice");
    for (const id of ["a", "b", "c", "d"]) await queued(id, "x");
    const ago = (ms: number) => new Date(Date.now() - ms);
    await moveIntent(database.pool, "b", { state: "attempting", goUntil: ago(1_000) });
    await moveIntent(database.pool, "c", { state: "attempting", goUntil: ago(90_000) });
    await moveIntent(database.pool, "d", { state: "sent" });
    await database.query("UPDATE intents SET expires_at = now() - interval '1 s'");
    const ids = async (limit: number, after?: { id: string; expires_at: Date }) =>
      (await expiredIntents(database.pool, { limit, graceMs: 60_000, after })).map(({ id }) => id);
    expect(await ids(10)).toEqual(["a", "c"]);
    const [first] = await expiredIntents(database.pool, { limit: 1, graceMs: 60_000 });
    expect(await ids(10, first)).toEqual(["c"]);
  });

  test("the same refused bytes raise a count", async () => {
    const refused = {
      code: "envelope.schema",
      detail: "d",
      routingKey: "irc._.inbound_event.p00",
      issuer: undefined,
      workspaceId: undefined,
      messageId: undefined,
      kid: undefined,
      sig: undefined,
      body: Buffer.from("bytes"),
    };
    expect(await quarantine(database.pool, refused)).toBe(await quarantine(database.pool, refused));
    const { rows } = await database.query("SELECT seen FROM quarantine");
    expect(rows).toEqual([{ seen: 2 }]);
  });

  test("many refused envelopes are one statement, each with its own row or count", async () => {
    const one = (text: string, more: Partial<Refused> = {}): Refused => ({
      code: "envelope.schema",
      detail: "d",
      routingKey: "irc._.inbound_event.p00",
      issuer: undefined,
      workspaceId: undefined,
      messageId: undefined,
      kid: undefined,
      sig: undefined,
      body: Buffer.from(text),
      ...more,
    });
    const known = await quarantine(database.pool, one("a"));
    const flood = Array.from({ length: 1_200 }, (_, at) => one(`flood ${at}`));
    const ids = await quarantineAll(database.pool, [
      one("a"),
      one("b"),
      one("b"),
      one("b", { code: "envelope.expired" }),
      ...flood,
    ]);
    expect(ids[0]).toBe(known);
    expect(ids[1]).toBe(ids[2]);
    expect(new Set(ids).size).toBe(1_203);
    const { rows } = await database.query(
      "SELECT code, seen FROM quarantine WHERE id = ANY($1::bigint[]) ORDER BY id, code",
      [ids.slice(0, 4)],
    );
    expect(rows).toHaveLength(3);
    expect(rows).toEqual(
      expect.arrayContaining([
        { code: "envelope.schema", seen: 2 },
        { code: "envelope.expired", seen: 1 },
      ]),
    );
    expect(await quarantineAll(database.pool, [])).toEqual([]);
  });

  test.each([
    ["envelope.too_large", 16_384],
    ["envelope.not_canonical", 16_384],
    ["envelope.schema", 1_000_000],
    ["flag.disabled", 1_000_000],
  ])("of bytes refused for good only the beginning is kept: %s", async (code, kept) => {
    const body = Buffer.alloc(1_000_000, "x");
    const id = await quarantine(database.pool, {
      code,
      detail: "d",
      routingKey: "irc._.inbound_event.p00",
      issuer: undefined,
      workspaceId: undefined,
      messageId: undefined,
      kid: undefined,
      sig: undefined,
      body,
    });
    const row = await quarantined(database.pool, id);
    expect(row?.body.length).toBe(kept);
    expect(row?.detail.includes("1000000 bytes")).toBe(kept < body.length);
    expect(row?.body_hash).toEqual(createHash("sha256").update(body).digest());
  });

  test("audit entries cannot be changed, deleted or truncated", async () => {
    await audit(database.pool, { workspaceId: "acme", actor: "core", action: "intent.sent", subject: "a" });
    for (const attack of [
      "UPDATE audit_entries SET actor = 'x'",
      "DELETE FROM audit_entries",
      "TRUNCATE audit_entries",
    ]) {
      await expect(database.query(attack)).rejects.toThrow("append-only");
    }
    expect(await auditTrail(database.pool, { workspaceId: "acme", limit: 5 })).toHaveLength(1);
    expect(await auditTrail(database.pool, { workspaceId: "rival", limit: 5 })).toHaveLength(0);
  });

  test("an enrolment token is spent once and dies of age", async () => {
    const enrolment = { issuers: ["daemon:irc:primary"], services: ["irc"], workspaces: ["*"] };
    await insertEnrolment(database.pool, digest("t"), enrolment, new Date(Date.now() + 60_000));
    await insertEnrolment(database.pool, digest("old"), enrolment, new Date(Date.now() - 1));
    expect(await spendEnrolment(database.pool, digest("t"))).toEqual({
      ...enrolment,
      replaces: null,
      grace_s: 0,
    });
    expect(await spendEnrolment(database.pool, digest("t"))).toBeUndefined();
    expect(await spendEnrolment(database.pool, digest("old"))).toBeUndefined();
  });

  test("retention drops whole months and keeps every inbox key", async () => {
    await database.query(
      "CREATE TABLE events_2020_01 PARTITION OF events FOR VALUES FROM ('2020-01-01Z') TO ('2020-02-01Z')",
    );
    await appendEvents(database.pool, [event("a")]);
    expect(await dropPartitions(database, "events", new Date())).toEqual(["events_2020_01"]);
    expect((await appendEvents(database.pool, [event("a")])).size).toBe(0);
  });

  test("a database that is away is store.unavailable, and comes back by itself", async () => {
    await server.kill();
    await expect(advancePositions(database)).rejects.toMatchObject({ code: "store.unavailable" });
    await server.restart();
    await expect
      .poll(
        () =>
          advancePositions(database).then(
            () => "up",
            () => "down",
          ),
        { timeout: 20_000 },
      )
      .toBe("up");
  });
});

/** Many questions and reports in one envelope: each has the answer and the effect that it has alone. */
import { randomUUID } from "node:crypto";
import {
  type AttemptAnswers,
  type AttemptReply,
  type AttemptRequest,
  type Envelope,
  FabricError,
} from "@linkspan/envelopes";
import {
  claimLease,
  currentLease,
  Database,
  insertIdentity,
  lockIntents,
  migrate,
  SHORT_WORK,
  stepsOf,
  updateIdentity,
} from "@linkspan/store";
import { type Core, Wakes } from "@linkspan/worker";
import { Attempts, committed, followReports, reportsIn } from "@linkspan/worker/testing";
import fc from "fast-check";
import { afterAll, beforeAll, beforeEach, expect, onTestFinished, test } from "vitest";
import { describeWithServers } from "../servers/available.ts";
import { type PostgresServer, startPostgres } from "../servers/postgres.ts";
import { OutboxModel } from "./outbox-model.ts";

type Payload = Record<string, unknown>;

const parts = 3;
const place = fc.record({ n: fc.nat(3), part: fc.nat(parts - 1), attempt: fc.constantFrom(1, 1, 1, 2) });
const reported = fc.constantFrom("sent", "sent", "sent", "failed", "uncertain", "delivered", "deferred");

describeWithServers(["postgres"], "many at once", () => {
  let server: PostgresServer;
  let url: string;
  let database: Database;
  let core: Core;
  let epoch: number;

  beforeAll(async () => {
    server = await startPostgres({ settings: { fsync: "off", synchronous_commit: "off" } });
    url = await server.createDatabase("many");
    database = new Database(url);
    await migrate(database);
  });
  afterAll(async () => {
    await database?.[Symbol.asyncDispose]();
    await server?.[Symbol.asyncDispose]();
  });
  beforeEach(async () => {
    const model = new OutboxModel(database);
    await model.start(["alice", "anna"]);
    const other = { service: "irc", instance: "second", settings: {} };
    await insertIdentity(database.pool, { id: "zoe", workspace_id: "acme", user_id: "u", ...other });
    await updateIdentity(database.pool, "zoe", { state: "linked" });
    core = { ...model.core, wakes: new Wakes() };
    epoch = (await currentLease(database.pool, "irc", "primary"))?.epoch ?? 0;
  });

  async function published(id: string, identity = "alice"): Promise<string> {
    await database.query(
      `INSERT INTO intents (id, workspace_id, user_id, identity_id, service, action, payload, content, idempotency_key, trace_id, state, attempt)
       VALUES ($1, 'acme', 'u', $2, 'irc', 'outbound_message', '{}', '\\x00', 'k', 't', 'queued', 1)`,
      [id, identity],
    );
    return id;
  }

  const envelope = (action: string, payload: Payload, messageId: string = randomUUID()): Envelope => ({
    schema: "msgr.bridge.v1",
    service: action === "attempt" ? "core" : "irc",
    action,
    trace_id: randomUUID(),
    occurred_at: "2026-11-20T12:00:00.000Z",
    metadata: {
      issuer: "daemon:irc:primary",
      workspace_id: "acme",
      instance: "primary",
      message_id: messageId,
      identity_id: "alice",
      epoch,
    },
    payload,
  });
  const ask = (payload: Payload, messageId?: string) =>
    new Attempts(core).answer(envelope("attempt", payload, messageId), core.signer.kid);
  const askMany = async (asks: readonly AttemptRequest[], messageId?: string) =>
    ((await ask({ asks }, messageId)) as AttemptAnswers).answers;
  const follow = (reports: readonly Envelope[]) =>
    committed(core, (on, after) => followReports(core, on, after, reports.flatMap(reportsIn)));

  const question = (id: string, part = 0, attempt = 1): AttemptRequest => ({
    intent_id: id,
    attempt,
    part,
    parts,
  });
  const codes = (answers: AttemptAnswers["answers"]) =>
    answers.map((one) => ("error" in one ? one.error.code : one.decision));

  test("a grant whose commit is not answered is no doubt: the same bytes are granted it again", async () => {
    const ids = Array.from({ length: 600 }, (_, n) => `i${String(n).padStart(3, "0")}`);
    await database.query(
      `INSERT INTO intents (id, workspace_id, user_id, identity_id, service, action, payload, content, idempotency_key, trace_id, state, attempt)
       SELECT id, 'acme', 'u', 'alice', 'irc', 'outbound_message', '{}', '\\x00', 'k', 't', 'queued', 1
         FROM unnest($1::text[]) AS t (id)`,
      [ids],
    );
    const transaction = database.transaction.bind(database);
    let commits = 0;
    // The second transaction is committed, and its answer is lost.
    database.transaction = async (work) => {
      const result = await transaction(work);
      commits += 1;
      if (commits === 2) throw new FabricError("store.unavailable", "the answer did not come");
      return result;
    };
    onTestFinished(() => {
      database.transaction = transaction;
    });
    const attempts = new Attempts(core);
    const asked = [0, 200, 400].map((from) => ids.slice(from, from + 200).map((id) => question(id)));
    const answer = (asks: readonly AttemptRequest[], at: number) =>
      attempts.answer(envelope("attempt", { asks }, `batch${at}`), core.signer.kid);
    // A transaction holds 500 of them, so that one request is divided over two.
    const [first, second, third] = await Promise.allSettled(asked.map(answer));
    expect([first?.status, second?.status]).toEqual(["fulfilled", "fulfilled"]);
    expect(third).toMatchObject({ status: "rejected", reason: { code: "store.unavailable" } });
    const again = (await answer(asked[2] ?? [], 2)) as AttemptAnswers;
    expect(new Set(codes(again.answers))).toEqual(new Set(["go"]));
  });

  test("each is answered for itself, in order; asked again with the same bytes, each the same", async () => {
    const [a, b, zoe] = [await published("a"), await published("b", "anna"), await published("z", "zoe")];
    await database.query("UPDATE intents SET expires_at = now() - interval '1 s' WHERE id = 'b'");
    const asks = [
      question(zoe),
      question(a),
      question("nobody's"),
      question(a),
      question(b),
      question(a, 0, 2),
    ];
    const wanted = [
      "envelope.wrong_issuer",
      "go",
      "request.not_found",
      // A part that is named twice is granted once.
      "uncertain",
      "stop",
      "stop",
    ];
    expect(codes(await askMany(asks, "question"))).toEqual(wanted);
    // The answer was lost.
    expect(codes(await askMany(asks, "question"))).toEqual(wanted);
    expect(codes(await askMany([question(a)]))).toEqual(["uncertain"]);
    const { rows } = await database.query("SELECT id, state FROM intents ORDER BY id");
    expect(rows).toEqual([
      { id: "a", state: "attempting" },
      { id: "b", state: "expired" },
      { id: "z", state: "queued" },
    ]);
  });

  test("who does not hold the instance is refused as a whole, and changes nothing", async () => {
    const id = await published("of another holder");
    epoch -= 1;
    await expect(askMany([question(id), question(id, 1)])).rejects.toMatchObject({ code: "lease.lost" });
    expect(await stepsOf(database.pool, id)).toEqual([]);
  });

  test("a row that the database refuses fails its own question, and no other", async () => {
    for (const id of ["a", "stuck", "b"]) await published(id);
    await database.query(
      `CREATE FUNCTION refuse_stuck() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'stuck' USING ERRCODE = '23514', CONSTRAINT = 'stuck'; END $$;
       CREATE TRIGGER refuse_stuck BEFORE UPDATE ON intents FOR EACH ROW WHEN (OLD.id = 'stuck') EXECUTE FUNCTION refuse_stuck()`,
    );
    try {
      const answers = await askMany(["a", "stuck", "b"].map((id) => question(id)));
      expect(codes(answers)).toEqual(["go", "store.rejected", "go"]);
    } finally {
      await database.query("DROP TRIGGER refuse_stuck ON intents; DROP FUNCTION refuse_stuck");
    }
  });

  test("an intent that somebody keeps locked fails its own question, and no other", async () => {
    for (const id of ["free", "locked", "free too"]) await published(id);
    await using impatient = new Database(url, { limits: { ...SHORT_WORK, lockMs: 200 } });
    const asked = new Attempts({ ...core, database: impatient });
    await database.transaction(async (client) => {
      await lockIntents(client, [{ id: "locked", workspaceId: "acme" }]);
      const asks = ["free", "locked", "free too"].map((id) => question(id));
      const { answers } = (await asked.answer(
        envelope("attempt", { asks }),
        core.signer.kid,
      )) as AttemptAnswers;
      expect(codes(answers)).toEqual(["go", "store.unavailable", "go"]);
    });
  });

  test("a daemon that asks too much at once is told to wait; another one is answered", async () => {
    await published("asked for");
    await published("of another", "zoe");
    const attempts = new Attempts(core);
    const second = await claimLease(database.pool, {
      service: "irc",
      instance: "second",
      holder: "h",
      kid: core.signer.kid,
      ttlMs: 60_000,
    });
    if (second.state !== "held") throw new Error("the lease is not free");
    const floods = Array.from({ length: 64 }, () =>
      attempts.answer(
        envelope("attempt", { asks: Array.from({ length: 200 }, () => question("asked for")) }),
        core.signer.kid,
      ),
    );
    // Waited for at once, so that every rejection has somebody who takes it.
    const flood = Promise.allSettled(floods);
    const one = envelope("attempt", { ...question("of another") });
    const metadata = { ...one.metadata, issuer: "daemon:irc:second", epoch: second.epoch };
    const other = await attempts.answer({ ...one, metadata }, core.signer.kid);
    expect(other).toMatchObject({ decision: "go" });
    const refused = (await flood).filter(({ status }) => status === "rejected");
    expect(refused).toHaveLength(64 - 5);
    for (const { reason } of refused as PromiseRejectedResult[])
      expect(reason).toMatchObject({ code: "request.rate_limited", retryAfterMs: 1_000 });
    // What was under way is over, and it is answered again.
    expect(
      await attempts.answer(envelope("attempt", { ...question("asked for") }), core.signer.kid),
    ).toMatchObject({
      decision: "uncertain",
    });
  });

  test("questions of several requests at one moment share a transaction, each with its own answer", async () => {
    const ids = await Promise.all(Array.from({ length: 40 }, (_, n) => published(`i${n}`)));
    let transactions = 0;
    const counting = Object.assign(Object.create(database) as Database, {
      transaction: (work: Parameters<Database["transaction"]>[0]) => {
        transactions += 1;
        return database.transaction(work);
      },
    });
    const attempts = new Attempts({ ...core, database: counting });
    const answers = await Promise.all(
      ids.map((id) => attempts.answer(envelope("attempt", { ...question(id) }), core.signer.kid)),
    );
    expect(answers.map((one) => (one as AttemptReply).decision)).toEqual(ids.map(() => "go"));
    expect(transactions).toBeLessThanOrEqual(3);
  });

  test("random batches of questions and reports come to what they come to one by one", async () => {
    const happening = fc.oneof(
      fc.record({ kind: fc.constant("ask" as const), place }),
      fc.record({ kind: reported, place }),
    );
    const batches = fc.array(fc.array(happening, { minLength: 1, maxLength: 8 }), { maxLength: 6 });
    let run = 0;
    await fc.assert(
      fc.asyncProperty(batches, async (all) => {
        run += 1;
        const ends: unknown[] = [];
        for (const form of ["together", "alone"]) {
          const idOf = (n: number) => `${run} ${form} ${n}`;
          for (const n of [0, 1, 2, 3]) await published(idOf(n));
          const told: string[] = [];
          for (const batch of all) {
            const asks = batch
              .filter(({ kind }) => kind === "ask")
              .map(({ place: { n, part, attempt } }) => question(idOf(n), part, attempt));
            const reports = batch
              .filter(({ kind }) => kind !== "ask")
              .map(({ kind, place: { n, part, attempt } }) => {
                const which = { intent_id: idOf(n), attempt };
                if (kind === "deferred") {
                  const until = "2026-11-20T12:00:01.000Z";
                  return envelope("deferred", { ...which, until, reason: "later" });
                }
                const status = { ...which, part, parts, status: kind, at: "2026-11-20T12:00:00.000Z" };
                return envelope("delivery_status", { ...status, remote_id: `r${part}` });
              });
            if (form === "together") {
              if (asks.length > 0) told.push(...codes(await askMany(asks)));
              await follow(reports);
            } else {
              for (const one of asks) told.push(((await ask({ ...one })) as AttemptReply).decision);
              for (const one of reports) await follow([one]);
            }
          }
          ends.push({ told, rows: await Promise.all([0, 1, 2, 3].map((n) => historyOf(idOf(n)))) });
        }
        expect(ends[0]).toEqual(ends[1]);
      }),
      { numRuns: 40 },
    );
  }, 120_000);

  /** Where an intent stands, and how it got there. */
  async function historyOf(id: string): Promise<unknown> {
    const { rows } = await database.query(
      `SELECT state, code, detail, part, parts, remote_ids, ask_id IS NULL AS unasked, ask_epoch, go_until IS NULL AS closed
         FROM intents WHERE id = $1`,
      [id],
    );
    const steps = (await stepsOf(database.pool, id)).map(({ at: _at, ...step }) => step);
    const { rows: trail } = await database.query(
      "SELECT actor, action, detail FROM audit_entries WHERE subject = $1 ORDER BY at, id",
      [id],
    );
    return { row: rows[0], steps, trail };
  }
});

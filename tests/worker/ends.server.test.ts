/** How intents and links end: by one rule each, whoever ends them, and never twice. */
import { randomUUID } from "node:crypto";
import { type AttemptReply, channelRef, type Envelope, FabricError } from "@linkspan/envelopes";
import {
  auditTrail,
  authSessionById,
  cancelAuthSessions,
  claimTurns,
  Database,
  identityById,
  insertAuthSession,
  insertIdentity,
  type Intent,
  intentById,
  migrate,
  moveAuthSession,
  setFlag,
  stepsOf,
  updateIdentity,
} from "@linkspan/store";
import {
  cancelIntent,
  type Core,
  recordIntent,
  resolveIntent,
  sweepExpired,
  sweepSessions,
  Wakes,
} from "@linkspan/worker";
import { Attempts, committed, endUnsettled, followReports, reportsIn } from "@linkspan/worker/testing";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { describeWithServers } from "../servers/available.ts";
import { type PostgresServer, startPostgres } from "../servers/postgres.ts";
import { OutboxModel } from "./outbox-model.ts";

const WORKSPACE = "acme";

describeWithServers(["postgres"], "ends", () => {
  let server: PostgresServer;
  let database: Database;
  let core: Core;
  /** Metrics told so far, each with whether it was committed when it was told. */
  let counted: string[];

  beforeAll(async () => {
    server = await startPostgres({ settings: { fsync: "off", synchronous_commit: "off" } });
    database = new Database(await server.createDatabase("ends"));
    await migrate(database);
  });
  afterAll(async () => {
    await database?.[Symbol.asyncDispose]();
    await server?.[Symbol.asyncDispose]();
  });
  beforeEach(async () => {
    const model = new OutboxModel(database);
    await model.start(["alice"]);
    await database.query("DELETE FROM connector_flags");
    counted = [];
    core = {
      ...model.core,
      wakes: new Wakes(),
      metrics: { ...model.core.metrics, intent: (state) => void counted.push(state) },
    };
  });

  async function record(text = "hello", over: { expiresAt?: Date } = {}): Promise<Intent> {
    const { intent } = await recordIntent(core, {
      workspaceId: WORKSPACE,
      userId: "u",
      identityId: "alice",
      action: "outbound_message",
      conversation: channelRef(WORKSPACE, "irc", ["net", randomUUID()]),
      payload: { text },
      idempotencyKey: randomUUID(),
      actor: "test",
      ...over,
    });
    return intent;
  }
  const claim = () => claimTurns(database, { limit: 100, credit: 16, overdueMs: 30_000 });
  const reload = async (id: string) => {
    const intent = await intentById(database.pool, id);
    if (intent === undefined) throw new Error("the intent is gone");
    return intent;
  };
  const envelope = (service: string, action: string, payload: Record<string, unknown>): Envelope => ({
    schema: "msgr.bridge.v1",
    service,
    action,
    trace_id: randomUUID(),
    occurred_at: new Date().toISOString(),
    metadata: {
      issuer: "daemon:irc:primary",
      workspace_id: WORKSPACE,
      instance: "primary",
      message_id: randomUUID(),
      identity_id: "alice",
      epoch: 1,
    },
    payload,
  });
  const ask = async (id: string, attempt: number, part: number, parts = 1) => {
    const question = envelope("core", "attempt", { intent_id: id, attempt, part, parts });
    return (await new Attempts(core).answer(question, core.signer.kid)) as AttemptReply;
  };
  const take = (report: Envelope) =>
    committed(core, (on, after) => followReports(core, on, after, reportsIn(report)));
  const report = (
    id: string,
    attempt: number,
    status: "sent" | "failed" | "uncertain",
    part = 0,
    parts = 1,
    code?: "platform.forbidden",
  ) => {
    const payload = { intent_id: id, attempt, part, parts, status, at: new Date().toISOString() };
    const told = { ...payload, remote_id: `r${part}`, ...(code !== undefined && { code }) };
    return take(envelope("irc", "delivery_status", told));
  };
  const defer = (id: string, attempt: number, until: Date, occurredAt = new Date()) => {
    const payload = { intent_id: id, attempt, until: until.toISOString(), reason: "platform.unavailable" };
    const note = { ...envelope("irc", "deferred", payload), occurred_at: occurredAt.toISOString() };
    return take(note);
  };
  /** Published again because nobody spoke of it. */
  const again = async () => {
    await database.query("UPDATE lanes SET due_at = now() - interval '1 s'");
    await database.query("UPDATE intents SET updated_at = now() - interval '1 minute'");
    await claim();
  };
  /** The first of two parts was said, the second never granted. */
  async function halfSaid(state: "queued" | "attempting"): Promise<Intent> {
    const { id } = await record();
    await claim();
    await ask(id, 1, 0, 2);
    await report(id, 1, "sent", 0, 2);
    if (state === "queued") await defer(id, 1, new Date());
    const intent = await reload(id);
    expect([intent.state, intent.part, intent.remote_ids]).toEqual([state, 1, ["r0"]]);
    return intent;
  }

  test("reports of an earlier attempt tell nothing of a later one, except that it was said", async () => {
    const late = await record("late failure");
    await claim();
    await again();
    expect((await ask(late.id, 2, 0)).decision).toBe("go");
    for (const status of ["failed", "uncertain"] as const) await report(late.id, 1, status);
    await defer(late.id, 1, new Date(Date.now() + 60_000));
    expect(await reload(late.id)).toMatchObject({ state: "attempting", code: null });
    await report(late.id, 2, "sent");
    expect(await reload(late.id)).toMatchObject({ state: "sent", remote_ids: ["r0"] });

    const said = await record("late success");
    await claim();
    await ask(said.id, 1, 0);
    await again();
    await report(said.id, 1, "sent");
    expect((await reload(said.id)).state).toBe("sent");

    const forged = await record("an attempt that never was");
    await claim();
    for (const status of ["sent", "failed"] as const) await report(forged.id, 7, status);
    await report(forged.id, 1, "sent", 3_000_000, 3_000_001);
    expect(await reload(forged.id)).toMatchObject({ state: "queued", remote_ids: [] });
  });

  test("what a daemon puts off waits as long as it asks, whatever its clock says", async () => {
    const { id } = await record();
    await claim();
    const ahead = Date.now() + 3_600_000;
    await defer(id, 1, new Date(ahead + 1_000), new Date(ahead));
    const { rows } = await database.query<{ ms: number }>(
      "SELECT extract(epoch FROM due_at - now())::float8 * 1000 AS ms FROM lanes",
    );
    expect(rows[0]?.ms).toBeLessThanOrEqual(1_000);
  });

  test.each([-1, 1])("the core's clock decides nothing: %i hours off", async (hours) => {
    core = { ...core, now: () => new Date(Date.now() + hours * 3_600_000) };
    const soon = new Date(Date.now() + 600_000);
    const { id } = await record("hello", { expiresAt: soon });
    await claim();
    expect(await ask(id, 1, 0)).toMatchObject({ decision: "go" });
    const standing = await reload(id);
    expect(Math.abs((standing.go_until?.getTime() ?? 0) - Date.now() - 15_000)).toBeLessThan(10_000);
    await defer(id, 1, new Date(Date.now() + 1_000), new Date());
    const { rows } = await database.query<{ ms: number }>(
      "SELECT extract(epoch FROM due_at - now())::float8 * 1000 AS ms FROM lanes WHERE intent_id = $1",
      [id],
    );
    expect(rows[0]?.ms).toBeGreaterThan(-10_000);
    expect(rows[0]?.ms).toBeLessThanOrEqual(1_000);
  });

  test("a half-said intent ends failed, with how much was said, whatever ends it", async () => {
    const off = { workspace_id: WORKSPACE, service: "irc", enabled: false, who: "test", why: "test" };
    const ends: Record<string, (intent: Intent) => Promise<unknown>> = {
      cancel: ({ id }) => cancelIntent(core, WORKSPACE, id, "test"),
      expiry: async ({ id }) => {
        await database.query(
          "UPDATE intents SET expires_at = now() - interval '1 s', go_until = NULL, updated_at = now() - interval '1 hour' WHERE id = $1",
          [id],
        );
        await sweepExpired(core);
      },
      "expiry at the gate": async ({ id }) => {
        await database.query("UPDATE intents SET expires_at = now() - interval '1 s' WHERE id = $1", [id]);
        await ask(id, 1, 1, 2);
      },
      "the switch": async ({ id }) => {
        await setFlag(database.pool, off);
        await ask(id, 1, 1, 2);
        await setFlag(database.pool, { ...off, enabled: true });
      },
      "a refusal by the platform": ({ id }) => report(id, 1, "failed", 1, 2, "platform.forbidden"),
      unlinking: () => endUnsettled(core, "alice", "test"),
    };
    const codes: Record<string, string> = {};
    for (const state of ["attempting", "queued"] as const) {
      for (const [cause, end] of Object.entries(ends)) {
        const intent = await halfSaid(state);
        await end(intent);
        const ended = await reload(intent.id);
        expect([cause, state, ended.state, ended.part, ended.parts]).toEqual([cause, state, "failed", 1, 2]);
        expect(ended.detail, cause).toContain("1 of 2 parts were said");
        codes[cause] = ended.code ?? "";
      }
    }
    expect(codes).toEqual({
      cancel: "send.incomplete",
      expiry: "envelope.expired",
      "expiry at the gate": "envelope.expired",
      "the switch": "flag.disabled",
      "a refusal by the platform": "platform.forbidden",
      unlinking: "policy.denied",
    });
    expect((await database.query("SELECT 1 FROM outbox")).rows).toEqual([]);
  });

  test("an uncertain intent is not cancelled; what turns out said in part has failed", async () => {
    const { id } = await record();
    await claim();
    await ask(id, 1, 0, 2);
    await endUnsettled(core, "alice", "test");
    expect((await cancelIntent(core, WORKSPACE, id, "test")).state).toBe("uncertain");
    await report(id, 1, "sent", 0, 2);
    expect(await reload(id)).toMatchObject({
      state: "failed",
      code: "send.incomplete",
      part: 1,
      remote_ids: ["r0"],
    });
    await expect(
      resolveIntent(core, { workspaceId: WORKSPACE, id, outcome: "sent", actor: "test" }),
    ).rejects.toMatchObject({ code: "request.invalid" });
  });

  test("an uncertain part stays uncertain when an earlier one is reported late, and ends by its own report", async () => {
    const { id } = await record();
    await claim();
    await ask(id, 1, 0, 3);
    await ask(id, 1, 1, 3);
    await endUnsettled(core, "alice", "test");
    const before = counted.length;
    for (let again = 0; again < 2; again++) {
      await report(id, 1, "sent", 0, 3);
      expect(await reload(id)).toMatchObject({ state: "uncertain", code: "send.uncertain", part: 1 });
      await report(id, 1, "uncertain", 1, 3);
    }
    expect((await reload(id)).remote_ids).toEqual(["r0"]);
    expect(counted).toHaveLength(before);
    expect((await stepsOf(database.pool, id)).map(({ state }) => state)).toEqual([
      "queued",
      "attempting",
      "attempting",
      "uncertain",
      "uncertain",
    ]);
    await report(id, 1, "sent", 1, 3);
    expect(await reload(id)).toMatchObject({
      state: "failed",
      code: "send.incomplete",
      part: 2,
      remote_ids: ["r0", "r1"],
    });
  });

  test("every step has its audit entry and its metric, and wakes the next of the lane", async () => {
    const intents = [await halfSaid("queued"), await halfSaid("attempting"), await record(), await record()];
    const [first, second, third, fourth] = intents.map(({ id }) => id) as [string, string, string, string];
    await cancelIntent(core, WORKSPACE, first, "test");
    await report(second, 1, "sent", 1, 2);
    await claim();
    await ask(third, 1, 0);
    let woken = 0;
    core.wakes.on("outbox", () => (woken += 1), new AbortController().signal);
    await endUnsettled(core, "alice", "test");
    expect(woken).toBe(1);
    let steps = 0;
    for (const id of [first, second, third, fourth]) {
      const states = (await stepsOf(database.pool, id)).map(({ state }) => `intent.${state}`);
      const trail = await auditTrail(database.pool, { workspaceId: WORKSPACE, subject: id, limit: 50 });
      expect(trail.map(({ action }) => action).toReversed()).toEqual(["intent.recorded", ...states]);
      steps += states.length;
    }
    expect(counted).toHaveLength(steps);
  });

  test("a metric is told after the commit, and not when there is none", async () => {
    const { id } = await record();
    counted = [];
    const broken: Core = {
      ...core,
      database: Object.assign(Object.create(database) as Database, {
        transaction: (work: Parameters<Database["transaction"]>[0]) =>
          database.transaction(async (client) => {
            await work(client);
            expect(counted).toEqual([]);
            throw new FabricError("internal", "no commit");
          }),
      }),
    };
    await expect(cancelIntent(broken, WORKSPACE, id, "test")).rejects.toThrow("no commit");
    expect(counted).toEqual([]);
    expect((await reload(id)).state).toBe("queued");
  });

  test("a sweep goes on behind what it cannot settle, and ends what it can", async () => {
    await database.query(
      `INSERT INTO intents (id, workspace_id, user_id, identity_id, service, action, payload, content, idempotency_key, trace_id, state, part, parts, expires_at)
       SELECT CASE WHEN i <= 510 THEN 'stuck' ELSE 'm' END || i, 'acme', 'u', 'alice', 'irc', 'outbound_message', '{}', '\\x00', 'k', 't', 'queued',
              CASE WHEN i <= 520 THEN 1 ELSE 0 END, 2, now() - interval '2 h' + i * interval '1 ms' FROM generate_series(1, 600) i`,
    );
    await database.query(
      `CREATE FUNCTION refuse_stuck() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'stuck'; END $$;
       CREATE TRIGGER refuse_stuck BEFORE UPDATE ON intents FOR EACH ROW WHEN (OLD.id LIKE 'stuck%') EXECUTE FUNCTION refuse_stuck()`,
    );
    expect(await sweepExpired(core)).toBe(90);
    await database.query("DROP TRIGGER refuse_stuck ON intents; DROP FUNCTION refuse_stuck");
    const { rows } = await database.query(
      "SELECT state, count(*)::int AS n FROM intents GROUP BY 1 ORDER BY 1",
    );
    expect(rows).toEqual([
      { state: "expired", n: 80 },
      { state: "failed", n: 10 },
      { state: "queued", n: 510 },
    ]);
    expect(await sweepExpired(core)).toBe(510);
  });

  test("what is being attempted by a daemon that never returns ends uncertain when its time is over", async () => {
    const { id } = await record();
    await claim();
    await ask(id, 1, 0);
    await database.query("UPDATE intents SET expires_at = now() - interval '1 s'");
    expect(await sweepExpired(core)).toBe(0);
    await database.query("UPDATE intents SET go_until = now() - interval '1 hour'");
    expect(await sweepExpired(core)).toBe(1);
    expect(await reload(id)).toMatchObject({ state: "uncertain", code: "send.uncertain" });
  });

  test("an unlinking that was interrupted is finished by the sweep", async () => {
    const { id } = await record();
    await updateIdentity(database.pool, "alice", { state: "unlinked" });
    await sweepExpired(core);
    expect(await reload(id)).toMatchObject({ state: "denied", code: "policy.denied" });
  });

  test("an intent that is being recorded while its identity is unlinked is ended with the others", async () => {
    const holding = await database.pool.connect();
    await holding.query("BEGIN");
    await holding.query("SELECT 1 FROM identities WHERE id = 'alice' FOR UPDATE");
    const recording = record();
    await holding.query("UPDATE identities SET state = 'unlinked' WHERE id = 'alice'");
    await holding.query("COMMIT");
    holding.release();
    await expect(recording).rejects.toMatchObject({ code: "request.not_found" });
  });

  async function session(id: string, expiresAt: Date): Promise<void> {
    const row = { id, workspace_id: WORKSPACE, user_id: "u", service: "irc" };
    await insertIdentity(database.pool, { ...row, id: `of ${id}`, instance: "primary", settings: {} });
    await insertAuthSession(database.pool, {
      ...row,
      identity_id: `of ${id}`,
      step: {},
      expires_at: expiresAt,
    });
  }
  const soon = () => new Date(Date.now() + 60_000);

  test("what was ended stays ended: an unlinked identity is not linked, a session ends once", async () => {
    await session("s", soon());
    await moveAuthSession(database.pool, "s", "awaiting_user", {});
    await moveAuthSession(database.pool, "s", "completing", {});
    expect(await cancelAuthSessions(database.pool, "of s")).toHaveLength(1);
    await updateIdentity(database.pool, "of s", { state: "unlinked" });
    const refused = { code: "request.invalid" };
    await expect(updateIdentity(database.pool, "of s", { state: "linked" })).rejects.toMatchObject(refused);
    for (const state of ["linked", "awaiting_user", "failed", "expired"] as const)
      await expect(moveAuthSession(database.pool, "s", state, {})).rejects.toMatchObject(refused);
    expect((await authSessionById(database.pool, "s"))?.state).toBe("cancelled");
    expect((await identityById(database.pool, "of s"))?.state).toBe("unlinked");
  });

  test("a session that ran out of time does not link, and takes its pending identity with it", async () => {
    await session("old", soon());
    await session("open", soon());
    await moveAuthSession(database.pool, "old", "awaiting_user", {});
    await moveAuthSession(database.pool, "old", "completing", {});
    await database.query("UPDATE auth_sessions SET expires_at = now() WHERE id = 'old'");
    const refused = { code: "request.invalid" };
    await expect(moveAuthSession(database.pool, "old", "linked", {})).rejects.toMatchObject(refused);
    expect(await sweepSessions(core)).toBe(1);
    await expect(moveAuthSession(database.pool, "old", "linked", {})).rejects.toMatchObject(refused);
    expect((await identityById(database.pool, "of old"))?.state).toBe("unlinked");
    expect((await identityById(database.pool, "of open"))?.state).toBe("pending");
    const trail = await auditTrail(database.pool, { workspaceId: WORKSPACE, subject: "of old", limit: 5 });
    expect(trail.map(({ action }) => action)).toEqual(["identity.abandoned"]);
  });
});

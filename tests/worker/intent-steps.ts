/** Takes intents through their steps, as the core, a daemon and its reports do, without a bus between them. */
import { randomUUID } from "node:crypto";
import { type AttemptReply, channelRef, type Envelope } from "@linkspan/envelopes";
import { claimTurns, Database, type Intent, intentById, migrate } from "@linkspan/store";
import { type Core, recordIntent, Wakes } from "@linkspan/worker";
import { Attempts, committed, followReports, reportsIn } from "@linkspan/worker/testing";
import { afterAll, beforeAll, beforeEach, expect } from "vitest";
import { describeWithServers } from "../servers/available.ts";
import { type PostgresServer, startPostgres } from "../servers/postgres.ts";
import { daemonEnvelope, WORKSPACE } from "./daemon-envelope.ts";
import { OutboxModel } from "./outbox-model.ts";

type Reported = "sent" | "failed" | "uncertain";

export class IntentSteps {
  readonly database: Database;
  core: Core;
  /** Metrics of intents that were reported so far. */
  readonly counted: string[] = [];

  private constructor(database: Database, core: Core) {
    this.database = database;
    this.core = {
      ...core,
      wakes: new Wakes(),
      metrics: { ...core.metrics, intent: (state) => void this.counted.push(state) },
    };
  }

  /** Empties the tables; the identity `alice` is linked, and her instance is held. */
  static async start(database: Database): Promise<IntentSteps> {
    const model = new OutboxModel(database);
    await model.start(["alice"]);
    await database.query("DELETE FROM connector_flags");
    return new IntentSteps(database, model.core);
  }

  /** An intent of alice in a conversation of its own. */
  async record(text = "hello", over: { expiresAt?: Date } = {}): Promise<Intent> {
    const { intent } = await recordIntent(this.core, {
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

  claim() {
    return claimTurns(this.database, { limit: 100, credit: 16, overdueMs: 30_000 });
  }

  async reload(id: string): Promise<Intent> {
    const intent = await intentById(this.database.pool, id);
    if (intent === undefined) throw new Error("the intent is gone");
    return intent;
  }

  /** The daemon asks whether it may send a part. */
  async ask(id: string, attempt: number, part: number, parts = 1): Promise<AttemptReply> {
    const question = envelope("core", "attempt", { intent_id: id, attempt, part, parts });
    return (await new Attempts(this.core).answer(question, this.core.signer.kid)) as AttemptReply;
  }

  /** The daemon reports what became of a part. */
  report(
    id: string,
    attempt: number,
    status: Reported,
    part = 0,
    parts = 1,
    code?: "platform.forbidden",
  ): Promise<void> {
    const payload = { intent_id: id, attempt, part, parts, status, at: new Date().toISOString() };
    const full = { ...payload, remote_id: `r${part}`, ...(code !== undefined && { code }) };
    return this.#take(envelope("irc", "delivery_status", full));
  }

  /** The daemon puts an intent off. @param occurredAt by its own clock */
  defer(id: string, attempt: number, until: Date, occurredAt = new Date()): Promise<void> {
    const payload = { intent_id: id, attempt, until: until.toISOString(), reason: "platform.unavailable" };
    const note = { ...envelope("irc", "deferred", payload), occurred_at: occurredAt.toISOString() };
    return this.#take(note);
  }

  /** Claims what is out once more, because there was no report of it for too long. */
  async again(): Promise<void> {
    await this.database.query("UPDATE lanes SET due_at = now() - interval '1 s'");
    await this.database.query("UPDATE intents SET updated_at = now() - interval '1 minute'");
    await this.claim();
  }

  /** An intent of which the first of two parts was sent, and the second never granted. */
  async halfSent(state: "queued" | "attempting"): Promise<Intent> {
    const { id } = await this.record();
    await this.claim();
    await this.ask(id, 1, 0, 2);
    await this.report(id, 1, "sent", 0, 2);
    if (state === "queued") await this.defer(id, 1, new Date());
    const intent = await this.reload(id);
    expect([intent.state, intent.part, intent.remote_ids]).toEqual([state, 1, ["r0"]]);
    return intent;
  }

  async #take(report: Envelope): Promise<void> {
    await committed(this.core, (on, after) => followReports(this.core, on, after, reportsIn(report)));
  }
}

function envelope(service: string, action: string, payload: Record<string, unknown>): Envelope {
  return daemonEnvelope({ identityId: "alice", epoch: 1 }, service, action, payload);
}

/** A suite on one database, which is emptied before each test. @param suite reads `steps` in tests, not before */
export function describeSteps(title: string, suite: (shared: { readonly steps: IntentSteps }) => void): void {
  describeWithServers(["postgres"], title, () => {
    let server: PostgresServer;
    let database: Database;
    let steps: IntentSteps;

    beforeAll(async () => {
      server = await startPostgres({ settings: { fsync: "off", synchronous_commit: "off" } });
      database = new Database(await server.createDatabase("steps"));
      await migrate(database);
    });
    afterAll(async () => {
      await database?.[Symbol.asyncDispose]();
      await server?.[Symbol.asyncDispose]();
    });
    beforeEach(async () => {
      steps = await IntentSteps.start(database);
    });
    suite({
      get steps() {
        return steps;
      },
    });
  });
}

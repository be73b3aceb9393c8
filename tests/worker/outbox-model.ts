/**
 * A world in which everything that can go wrong on the way out does, in an order that a test draws: the real tables
 * and the real rules, with a daemon and a clock that the test moves. What was really said is kept here, so that it
 * can be held against what the intents claim.
 */
import { randomUUID } from "node:crypto";
import { type AttemptReply, channelRef, type Envelope, signerFromSeed } from "@linkspan/envelopes";
import {
  claimLease,
  claimTurns,
  type Database,
  insertIdentity,
  type Intent,
  intentById,
  updateIdentity,
} from "@linkspan/store";
import { cancelIntent, type Core, recordIntent, resolveIntent, sweepExpired, Wakes } from "@linkspan/worker";
import { Attempts, committed, endUnsettled, followReports, reportsIn } from "@linkspan/worker/testing";
import { daemonEnvelope, WORKSPACE } from "./daemon-envelope.ts";

export const CREDIT = 2;
const OVERDUE_MS = 30_000;
const ENDED = ["denied", "sent", "delivered", "read", "failed", "uncertain", "expired", "cancelled"];

/** A publish that lies at the daemon. */
interface Lying {
  readonly intent: Intent;
  readonly epoch: number;
  /** Next part to ask for. */
  part: number;
}

/** What the daemon does with a part that it was granted. */
export type Deed =
  | "say"
  | "say-silently"
  | "fail"
  | "defer"
  | "vanish"
  /** Without asking: the login is bad, or the connection is down. */
  | "fail-unasked"
  | "defer-unasked";

export class OutboxModel {
  readonly #database: Database;
  readonly core: Core;
  readonly recorded: string[] = [];
  readonly #partsOf = new Map<string, number>();
  readonly #laneOf = new Map<string, string>();
  /** `<intent>.<part>` that the platform has. */
  readonly #said = new Set<string>();
  readonly #unlinked = new Set<string>();
  #lying: Lying[] = [];
  /** Reports on their way to the core. */
  #reports: Envelope[] = [];
  readonly #attempts: Attempts;

  constructor(database: Database) {
    this.#database = database;
    const quiet = () => undefined;
    this.core = {
      database,
      bus: { publish: async () => undefined },
      signer: signerFromSeed(new Uint8Array(32).fill(9)),
      namespace: { partitions: 8 },
      wakes: new Wakes(),
      log: { warn: quiet, info: quiet, debug: quiet, error: quiet },
      now: () => new Date(),
      metrics: { intent: quiet },
    } as unknown as Core;
    this.#attempts = new Attempts(this.core);
  }

  async start(identities: readonly string[]): Promise<void> {
    await this.#database.query(
      "TRUNCATE intents, outbox, lanes, identities, auth_sessions, instance_leases CASCADE",
    );
    for (const id of identities) {
      const place = { service: "irc", instance: "primary", settings: {} };
      await insertIdentity(this.#database.pool, { id, workspace_id: WORKSPACE, user_id: "u", ...place });
      await updateIdentity(this.#database.pool, id, { state: "linked" });
    }
    await this.takeOver();
  }

  async record(identityId: string, lane: string, parts: number): Promise<void> {
    if (this.#unlinked.has(identityId)) return;
    const { intent } = await recordIntent(this.core, {
      workspaceId: WORKSPACE,
      userId: "u",
      identityId,
      action: "outbound_message",
      conversation: channelRef(WORKSPACE, "irc", ["net", lane]),
      payload: { text: "hello" },
      idempotencyKey: randomUUID(),
      actor: "test",
    });
    this.recorded.push(intent.id);
    this.#partsOf.set(intent.id, parts);
    this.#laneOf.set(intent.id, `${identityId} ${lane}`);
  }

  /** @param lost the core is killed between the claim and the publish */
  async claim(lost: boolean): Promise<number> {
    const turns = await claimTurns(this.#database, { limit: 4, credit: CREDIT, overdueMs: OVERDUE_MS });
    if (!lost) for (const { intent, epoch } of turns) this.#lying.push({ intent, epoch, part: 0 });
    return turns.length;
  }

  /** The daemon goes on with one of the publishes that lie at it. */
  async work(pick: number, deed: Deed): Promise<void> {
    const lying = this.#lying[pick % Math.max(1, this.#lying.length)];
    if (lying === undefined) return;
    const rest = () => (this.#lying = this.#lying.filter((one) => one !== lying));
    const parts = this.#partsOf.get(lying.intent.id) ?? 1;
    if (lying.part >= parts) return void rest();
    if (deed === "fail-unasked" || deed === "defer-unasked") {
      rest();
      await this.#deliverAllOf(lying);
      return deed === "fail-unasked" ? this.#send(lying, parts, "failed") : this.#defer(lying);
    }
    const answer = await this.#ask(lying, parts);
    const key = `${lying.intent.id}.${lying.part}`;
    if (answer?.decision === "sent") return void (lying.part += 1);
    if (answer?.decision === "uncertain") {
      rest();
      return this.#send(lying, parts, this.#said.has(key) && deed === "say" ? "sent" : "uncertain");
    }
    if (answer?.decision !== "go") return void rest();
    await this.#mayBeSaid(lying, key);
    if (deed === "say" || deed === "say-silently") this.#said.add(key);
    if (deed === "say") this.#send(lying, parts, "sent");
    if (deed === "fail") this.#send(lying, parts, "failed");
    if (deed === "defer") {
      await this.#deliverAllOf(lying);
      this.#defer(lying);
    }
    if (deed === "say") lying.part += 1;
    else rest();
  }

  async #mayBeSaid({ intent }: Lying, key: string): Promise<void> {
    if (this.#said.has(key)) throw new Error(`${key} was granted after it had been said`);
    const lane = this.#laneOf.get(intent.id);
    for (const earlier of this.recorded.slice(0, this.recorded.indexOf(intent.id))) {
      if (this.#laneOf.get(earlier) !== lane) continue;
      const row = await intentById(this.#database.pool, earlier);
      if (!ENDED.includes(row?.state ?? ""))
        throw new Error(`${key} overtook ${earlier}, which is ${row?.state}`);
    }
  }

  /** One report reaches the core. */
  async deliver(pick: number, again: boolean): Promise<void> {
    const report = this.#reports[pick % Math.max(1, this.#reports.length)];
    if (report === undefined) return;
    if (!again) this.#reports = this.#reports.filter((one) => one !== report);
    await committed(this.core, (on, after) => followReports(this.core, on, after, reportsIn(report)));
  }

  /** A daemon that died before the broker confirmed its report; it does nothing more. */
  loseReport(pick: number): void {
    const [lost] = this.#reports.splice(pick % Math.max(1, this.#reports.length), 1);
    const id = lost?.payload["intent_id"];
    this.#lying = this.#lying.filter(({ intent }) => intent.id !== id);
  }

  /** The reports of an intent come in their order; a daemon that puts it off has sent the others before. */
  async #deliverAllOf({ intent }: Lying): Promise<void> {
    for (;;) {
      const at = this.#reports.findIndex(({ payload }) => payload["intent_id"] === intent.id);
      if (at < 0) return;
      await this.deliver(at, false);
    }
  }

  /** Another process holds the instance; what lay at the old one is gone, or still being worked on. */
  async takeOver(keep = false): Promise<void> {
    await this.#database.query("UPDATE instance_leases SET expires_at = now()");
    const claim = {
      service: "irc",
      instance: "primary",
      holder: randomUUID(),
      kid: this.core.signer.kid,
      ttlMs: 86_400_000,
    };
    const lease = await claimLease(this.#database.pool, claim);
    if (lease.state !== "held") throw new Error("the lease was not free");
    if (!keep) this.#lying = [];
  }

  /** Everything that the tables know of time lies further back. */
  async pass(ms: number): Promise<void> {
    const by = [ms];
    await this.#database.query("UPDATE lanes SET due_at = due_at - make_interval(secs => $1 / 1000.0)", by);
    await this.#database.query(
      `UPDATE intents SET updated_at = updated_at - make_interval(secs => $1 / 1000.0),
              expires_at = expires_at - make_interval(secs => $1 / 1000.0),
              go_until = go_until - make_interval(secs => $1 / 1000.0)`,
      by,
    );
  }

  async cancel(pick: number): Promise<void> {
    const id = this.recorded[pick % Math.max(1, this.recorded.length)];
    if (id !== undefined) await cancelIntent(this.core, WORKSPACE, id, "test");
  }

  async resolve(pick: number): Promise<void> {
    const id = this.recorded[pick % Math.max(1, this.recorded.length)];
    const intent = id === undefined ? undefined : await intentById(this.#database.pool, id);
    if (intent?.state !== "uncertain") return;
    const all = Array.from(
      { length: this.#partsOf.get(intent.id) ?? 1 },
      (_, part) => `${intent.id}.${part}`,
    );
    const outcome = all.every((key) => this.#said.has(key)) ? "sent" : "failed";
    await resolveIntent(this.core, { workspaceId: WORKSPACE, id: intent.id, outcome, actor: "test" });
  }

  /** One intent's time is over, and the sweep comes. */
  async expire(pick: number): Promise<void> {
    const id = this.recorded[pick % Math.max(1, this.recorded.length)];
    await this.#database.query("UPDATE intents SET expires_at = now() - interval '1 s' WHERE id = $1", [id]);
    await sweepExpired(this.core);
  }

  async unlink(identityId: string): Promise<void> {
    if (this.#unlinked.has(identityId)) return;
    this.#unlinked.add(identityId);
    await updateIdentity(this.#database.pool, identityId, { state: "unlinked" });
    await endUnsettled(this.core, identityId, "test");
  }

  /** An honest daemon and a core that lives: everything must end. @returns what did not */
  async finish(): Promise<string[]> {
    await this.takeOver();
    for (let round = 0; round < 200; round++) {
      await this.pass(OVERDUE_MS + 5_000);
      while ((await this.claim(false)) > 0) await this.check();
      while (this.#lying.length > 0) {
        await this.work(0, "say");
        while (this.#reports.length > 0) await this.deliver(0, false);
      }
      if ((await this.#unsettled()).length === 0) break;
    }
    return this.#unsettled();
  }

  async #unsettled(): Promise<string[]> {
    const { rows } = await this.#database.query<{ id: string; state: string }>(
      "SELECT id, state FROM intents",
    );
    return rows.filter(({ state }) => !ENDED.includes(state)).map(({ id, state }) => `${id} ${state}`);
  }

  /** What must hold at any moment. @throws Error that says what does not */
  async check(): Promise<void> {
    const none = async (what: string, sql: string): Promise<void> => {
      const { rows } = await this.#database.query(sql);
      if (rows.length > 0) throw new Error(`${what}: ${JSON.stringify(rows)}`);
    };
    await none(
      "the row of a lane is not its oldest intent",
      `SELECT * FROM (SELECT DISTINCT ON (identity_id, lane) identity_id, lane, intent_id FROM outbox
                       ORDER BY identity_id, lane, ordinal) o
         FULL JOIN lanes l USING (identity_id, lane, intent_id) WHERE o.* IS NULL OR l.* IS NULL`,
    );
    await none(
      "more is out than the credit",
      `SELECT identity_id, count(*) FROM lanes WHERE published_at IS NOT NULL
        GROUP BY identity_id HAVING count(*) > ${CREDIT}`,
    );
    await none(
      "the outbox and the states differ",
      `SELECT i.id, i.state, o.intent_id FROM intents i FULL JOIN outbox o ON o.intent_id = i.id
        WHERE (i.state IN ('queued', 'attempting')) <> (o.intent_id IS NOT NULL)`,
    );
    await none(
      "parked lanes that nothing will wake",
      `SELECT identity_id FROM lanes GROUP BY identity_id HAVING bool_or(parked)
          AND count(*) FILTER (WHERE published_at IS NOT NULL OR (NOT parked AND due_at <= clock_timestamp())) < ${CREDIT}`,
    );
    const { rows } = await this.#database.query<{ id: string; state: string }>(
      "SELECT id, state FROM intents",
    );
    for (const { id, state } of rows) this.#holdAgainstTruth(id, state);
  }

  #holdAgainstTruth(id: string, state: string): void {
    const all = Array.from({ length: this.#partsOf.get(id) ?? 1 }, (_, part) => `${id}.${part}`);
    const said = all.filter((key) => this.#said.has(key)).length;
    if (state === "sent" && said < all.length)
      throw new Error(`${id} is sent; ${said} of ${all.length} were said`);
    if (state === "failed" && said === all.length) throw new Error(`${id} is failed, and all of it was said`);
    if (["denied", "expired", "cancelled"].includes(state) && said > 0)
      throw new Error(`${id} is ${state}, and ${said} of ${all.length} parts were said`);
  }

  async #ask(lying: Lying, parts: number): Promise<AttemptReply | undefined> {
    const envelope = this.#envelope(lying, "core", "attempt", {
      intent_id: lying.intent.id,
      attempt: lying.intent.attempt,
      part: lying.part,
      parts,
    });
    try {
      return (await this.#attempts.answer(envelope, this.core.signer.kid)) as AttemptReply;
    } catch (error) {
      if ((error as { code?: string }).code === "lease.lost") return undefined;
      throw error;
    }
  }

  #send(lying: Lying, parts: number, status: "sent" | "failed" | "uncertain"): void {
    const payload = {
      intent_id: lying.intent.id,
      attempt: lying.intent.attempt,
      part: lying.part,
      parts,
      status,
      at: new Date().toISOString(),
      ...(status === "sent" && { remote_id: `r${lying.part}` }),
      ...(status === "failed" && { code: "platform.forbidden" }),
    };
    this.#reports.push(this.#envelope(lying, "irc", "delivery_status", payload));
  }

  #defer(lying: Lying): void {
    const until = new Date(Date.now() + 20_000).toISOString();
    const payload = { intent_id: lying.intent.id, attempt: lying.intent.attempt, until, reason: "later" };
    this.#reports.push(this.#envelope(lying, "irc", "deferred", payload));
  }

  #envelope(
    { intent, epoch }: Lying,
    service: string,
    action: string,
    payload: Record<string, unknown>,
  ): Envelope {
    return daemonEnvelope({ identityId: intent.identity_id, epoch }, service, action, payload);
  }
}

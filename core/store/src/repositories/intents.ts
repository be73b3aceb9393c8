/**
 * Intents: one message or action to send each. The row has the current state; `intent_steps` the states before.
 */
import { sql } from "kysely";
import { type Queryable, execute, run, runFirst, sqlFor } from "../database.ts";
import type { IntentState } from "../tables.ts";

export interface Intent {
  readonly id: string;
  readonly ordinal: string;
  readonly workspace_id: string;
  readonly user_id: string;
  readonly identity_id: string;
  readonly service: string;
  readonly action: string;
  readonly conversation: string | null;
  readonly payload: Record<string, unknown>;
  readonly content: Uint8Array;
  readonly trace_id: string;
  readonly state: IntentState;
  readonly code: string | null;
  readonly detail: string | null;
  /** Publishes so far; a daemon's report counts only if it names this number. */
  readonly attempt: number;
  /** First part never confirmed. */
  readonly part: number;
  readonly parts: number | null;
  readonly remote_ids: string[];
  readonly ask_id: string | null;
  readonly ask_epoch: string | null;
  readonly go_until: Date | null;
  readonly created_at: Date;
  readonly updated_at: Date;
  readonly expires_at: Date | null;
}

export interface NewIntent {
  readonly id: string;
  readonly workspaceId: string;
  readonly userId: string;
  readonly identityId: string;
  readonly service: string;
  readonly action: string;
  readonly conversation: string | undefined;
  readonly payload: Record<string, unknown>;
  /** SHA-256 of what the idempotency key stands for; 32 bytes. */
  readonly content: Uint8Array;
  readonly idempotencyKey: string;
  readonly traceId: string;
  readonly expiresAt: Date | undefined;
}

export type IntentOwner = Pick<Intent, "id" | "workspace_id" | "identity_id" | "service">;

/** Whose the intents are; unknown ids are left out. */
export async function intentOwners(on: Queryable, ids: readonly string[]): Promise<IntentOwner[]> {
  const { rows } = await execute<IntentOwner>(
    on,
    "SELECT id, workspace_id, identity_id, service FROM intents WHERE id = ANY ($1::text[])",
    [ids],
    "intents.owners",
  );
  return rows;
}

export function intentById(on: Queryable, id: string): Promise<Intent | undefined> {
  return runFirst(on, sqlFor.selectFrom("intents").selectAll().where("id", "=", id));
}

export async function intentsById(on: Queryable, ids: readonly string[]): Promise<Map<string, Intent>> {
  const { rows } = await execute<Intent & Record<string, unknown>>(
    on,
    "SELECT * FROM intents WHERE id = ANY ($1::text[])",
    [ids],
    "intents.by_ids",
  );
  return new Map(rows.map((row) => [row.id, row]));
}

/** Takes the row lock; decisions about one intent are serial. */
export function lockIntent(on: Queryable, id: string): Promise<Intent | undefined> {
  return runFirst(on, sqlFor.selectFrom("intents").selectAll().where("id", "=", id).forUpdate());
}

/** The same for who may see one workspace only: another one's row is neither waited for nor held. */
export function lockIntentOf(on: Queryable, workspaceId: string, id: string): Promise<Intent | undefined> {
  const own = sqlFor.selectFrom("intents").selectAll().where("id", "=", id);
  return runFirst(on, own.where("workspace_id", "=", workspaceId).forUpdate());
}

export function listIntents(
  on: Queryable,
  filter: {
    readonly workspaceId: string;
    readonly state?: IntentState;
    readonly limit: number;
    readonly before?: string;
  },
): Promise<Intent[]> {
  let query = sqlFor
    .selectFrom("intents")
    .selectAll()
    .where("workspace_id", "=", filter.workspaceId)
    .orderBy("ordinal", "desc")
    .limit(filter.limit);
  if (filter.state !== undefined) query = query.where("state", "=", filter.state);
  if (filter.before !== undefined) query = query.where("ordinal", "<", filter.before);
  return run(on, query);
}

/** Steps of an intent that are returned: one that is put off again and again has one for each time. */
const MAX_STEPS = 1_000;

/** The newest steps of an intent, oldest first. */
export async function stepsOf(on: Queryable, intentId: string, limit = MAX_STEPS) {
  const steps = await run(
    on,
    sqlFor
      .selectFrom("intent_steps")
      .select(["at", "state", "attempt", "part", "code", "detail"])
      .where("intent_id", "=", intentId)
      .orderBy("at", "desc")
      .limit(limit),
  );
  return steps.toReversed();
}

/** Where a walk over expired intents stands. */
export interface ExpiryCursor {
  readonly id: string;
  readonly expires_at: Date;
}

/** The queues of these identities, and of these workspaces. */
export interface Queues {
  readonly identities: readonly { readonly workspaceId: string; readonly identityId: string }[];
  readonly workspaces: readonly string[];
}

/** How many intents wait to be settled, in the order asked; each queue is counted up to its bound and no further. */
export async function waitingIntents(
  on: Queryable,
  { identities, workspaces }: Queues,
  bounds: { readonly perIdentity: number; readonly perWorkspace: number },
): Promise<{ readonly identities: readonly number[]; readonly workspaces: readonly number[] }> {
  const waiting = "state IN ('recorded', 'held', 'queued', 'attempting')";
  const { rows } = await execute<{ whole: boolean; waiting: number }>(
    on,
    `SELECT false AS whole, n, (SELECT count(*)::int FROM (
              SELECT 1 FROM intents WHERE workspace_id = t.w AND identity_id = t.i AND ${waiting} LIMIT $4) q) AS waiting
       FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS t (w, i, n)
      UNION ALL
     SELECT true, n, (SELECT count(*)::int FROM (
              SELECT 1 FROM intents WHERE workspace_id = t.w AND ${waiting} LIMIT $5) q)
       FROM unnest($3::text[]) WITH ORDINALITY AS t (w, n)
      ORDER BY whole, n`,
    [
      identities.map(({ workspaceId }) => workspaceId),
      identities.map(({ identityId }) => identityId),
      workspaces,
      bounds.perIdentity,
      bounds.perWorkspace,
    ],
    "intents.waiting",
  );
  const counts = (whole: boolean) => rows.filter((row) => row.whole === whole).map((row) => row.waiting);
  return { identities: counts(false), workspaces: counts(true) };
}

/**
 * Unsettled intents that are past their time, oldest first; of those being attempted only the ones whose window
 * closed more than `graceMs` ago.
 *
 * @param after the last one of the page before; what could not be settled does not come again in the same walk
 */
export function expiredIntents(
  on: Queryable,
  page: { readonly limit: number; readonly graceMs: number; readonly after?: ExpiryCursor | undefined },
): Promise<ExpiryCursor[]> {
  let query = sqlFor
    .selectFrom("intents")
    .select(["id", sql<Date>`expires_at`.as("expires_at")])
    .where("state", "in", UNSETTLED)
    .where("expires_at", "<=", sql<Date>`now()`)
    .where(
      sql<boolean>`(state <> 'attempting' OR coalesce(go_until, updated_at) <= now() - make_interval(secs => ${page.graceMs} / 1000.0))`,
    )
    .orderBy("expires_at")
    .orderBy("id")
    .limit(page.limit);
  // The driver reads times to the millisecond, the table keeps microseconds: the cursor compares what was read.
  if (page.after !== undefined)
    query = query.where(
      sql<boolean>`(date_trunc('milliseconds', expires_at), id) > (${page.after.expires_at}, ${page.after.id})`,
    );
  return run(on, query);
}

const UNSETTLED: IntentState[] = ["recorded", "held", "queued", "attempting"];

/**
 * Some intents of one identity that are not settled, locked in the order of their ids, as `lockIntents` does.
 *
 * @returns none only when there are none, or others settled them meanwhile
 */
export async function lockUnsettledIntents(
  on: Queryable,
  identityId: string,
  limit: number,
): Promise<Intent[]> {
  const unsettled = "state IN ('recorded', 'held', 'queued', 'attempting')";
  const { rows } = await execute<Intent & Record<string, unknown>>(
    on,
    // With its workspace, by which the index of what waits begins.
    `SELECT * FROM intents WHERE ${unsettled} AND id = ANY (ARRAY(
       SELECT id FROM intents WHERE identity_id = $1 AND ${unsettled}
          AND workspace_id = (SELECT workspace_id FROM identities WHERE id = $1) LIMIT $2))
      ORDER BY id FOR UPDATE`,
    [identityId, limit],
  );
  return rows;
}

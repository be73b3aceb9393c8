/**
 * Recording many intents in one statement: the rows, their first step, their audit entries and their places in the
 * lanes.
 *
 * Whoever records many at once holds many lanes at once, and others (a settlement, an unlinking) take lanes in an order
 * of their own. So that none of them can wait for the other in a circle, the statement does not wait for a lane that
 * somebody holds: intents of such a lane are left out and returned as busy, to be recorded with the lane alone, where
 * waiting is safe. What it waits for besides, ids and new lanes, it takes in one order.
 */
import { type Queryable, execute } from "../database.ts";
import type { IntentState } from "../tables.ts";
import type { AuditEntry } from "./audit.ts";
import type { Identity } from "./identities.ts";
import type { Intent, NewIntent } from "./intents.ts";
import type { OutboxRow } from "./outbox.ts";

/** Whether a row that somebody has locked is waited for; wait only with a single lane. */
export type LockMode = "skip" | "wait";

/** An intent with its first state. */
export interface DecidedIntent {
  readonly intent: NewIntent;
  readonly state: IntentState;
  readonly code: string | undefined;
  readonly detail: string | undefined;
  readonly decision: Readonly<Record<string, unknown>>;
  /** In this order. */
  readonly audit: readonly Omit<AuditEntry, "workspaceId" | "subject">[];
  /** Its place in the outbox; undefined for what is settled. */
  readonly place: OutboxRow | undefined;
}

export interface Inserted {
  /** New rows, by id. */
  readonly fresh: ReadonlyMap<string, Intent>;
  /** Ids whose lane somebody else holds: nothing of them was stored. */
  readonly busy: ReadonlySet<string>;
}

/**
 * Keeps identities from being unlinked while the transaction runs, as `holdIdentity` does for one.
 *
 * @param mode `skip` leaves out those that somebody changes at this moment
 * @returns by id
 */
export async function holdIdentities(
  on: Queryable,
  ids: readonly string[],
  mode: LockMode,
): Promise<Map<string, Identity>> {
  const { rows } = await execute<Identity & Record<string, unknown>>(
    on,
    `SELECT * FROM identities WHERE id = ANY ($1::text[]) ORDER BY id
        FOR KEY SHARE ${mode === "skip" ? "SKIP LOCKED" : ""}`,
    [ids],
    `recording.hold.${mode}`,
  );
  return new Map(rows.map((row) => [row.id, row]));
}

/** Stores what is not stored yet. Ids must differ. The lanes stay locked until the transaction ends. */
export async function insertDecided(
  on: Queryable,
  members: readonly DecidedIntent[],
  mode: LockMode,
): Promise<Inserted> {
  if (members.length === 0) return { fresh: new Map(), busy: new Set() };
  const entries = members.flatMap(({ intent, audit }) => audit.map((entry) => ({ id: intent.id, ...entry })));
  const { rows } = await execute<Intent & { given_id: string; is_busy: boolean }>(
    on,
    insertStatement(mode),
    [
      members.map(({ intent }) => intent.id),
      members.map(({ intent }) => intent.workspaceId),
      members.map(({ intent }) => intent.userId),
      members.map(({ intent }) => intent.identityId),
      members.map(({ intent }) => intent.service),
      members.map(({ intent }) => intent.action),
      members.map(({ intent }) => intent.conversation ?? null),
      members.map(({ intent }) => JSON.stringify(intent.payload)),
      members.map(({ intent }) => Buffer.from(intent.content)),
      members.map(({ intent }) => intent.idempotencyKey),
      members.map(({ intent }) => intent.traceId),
      members.map(({ intent }) => intent.expiresAt ?? null),
      members.map(({ state }) => state),
      members.map(({ code }) => code ?? null),
      members.map(({ detail }) => detail ?? null),
      members.map(({ decision }) => JSON.stringify(decision)),
      members.map(({ place }) => place?.instance ?? null),
      members.map(({ place }) => place?.lane ?? null),
      members.map(({ place }) => place?.bytes ?? null),
      entries.map(({ id }) => id),
      entries.map(({ actor }) => actor),
      entries.map(({ action }) => action),
      entries.map(({ detail }) => JSON.stringify(detail ?? {})),
    ],
    `recording.insert.${mode}`,
  );
  const busy = new Set(rows.filter((row) => row.is_busy).map((row) => row.given_id));
  const fresh = rows.filter(({ id }) => id !== null).map((row) => [row.given_id, row] as const);
  return { fresh: new Map(fresh), busy };
}

/** A lane that is there and cannot be locked at once is held by somebody; one that is not there is made below. */
const HELD_BY_OTHERS = `SELECT l.identity_id, l.lane FROM lanes l JOIN wanted USING (identity_id, lane)
        EXCEPT SELECT identity_id, lane FROM held`;
const NOBODY = "SELECT identity_id, lane FROM held WHERE false";

/**
 * The order of the parts is given by what each reads: lanes that are there, intents by id, lanes that are new, and
 * then the places, which are drawn under the lanes' locks.
 */
function insertStatement(mode: LockMode): string {
  return `WITH given AS MATERIALIZED (
      SELECT t.*, nextval('intent_ordinals') AS ordinal
        FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
          $8::jsonb[], $9::bytea[], $10::text[], $11::text[], $12::timestamptz[], $13::text[], $14::text[],
          $15::text[], $16::jsonb[], $17::text[], $18::text[], $19::int[])
        WITH ORDINALITY AS t (id, workspace_id, user_id, identity_id, service, action, conversation, payload, content,
          idempotency_key, trace_id, expires_at, state, code, detail, decision, instance, lane, bytes, n)
    ), wanted AS MATERIALIZED (
      SELECT DISTINCT identity_id, lane FROM given WHERE lane IS NOT NULL
    ), held AS MATERIALIZED (
      SELECT l.identity_id, l.lane FROM lanes l JOIN wanted USING (identity_id, lane)
         ${mode === "skip" ? "FOR UPDATE OF l SKIP LOCKED" : ""}
    ), busy AS MATERIALIZED (
      ${mode === "skip" ? HELD_BY_OTHERS : NOBODY}
    ), fresh AS (
      INSERT INTO intents (id, ordinal, workspace_id, user_id, identity_id, service, action, conversation, payload, content,
             idempotency_key, trace_id, expires_at, state, code, detail, decision)
      SELECT id, ordinal, workspace_id, user_id, identity_id, service, action, conversation, payload, content,
             idempotency_key, trace_id, expires_at, state, code, detail, decision
        FROM given g
       WHERE NOT EXISTS (SELECT 1 FROM busy b WHERE b.identity_id = g.identity_id AND b.lane = g.lane)
       ORDER BY id
      ON CONFLICT (id) DO NOTHING RETURNING *
    ), stepped AS (
      INSERT INTO intent_steps (intent_id, state, attempt, part, code, detail)
      SELECT id, state, attempt, part, code, detail FROM fresh
    ), audited AS (
      INSERT INTO audit_entries (workspace_id, actor, action, subject, detail)
      SELECT f.workspace_id, a.actor, a.action, a.id, a.detail
        FROM unnest($20::text[], $21::text[], $22::text[], $23::jsonb[])
             WITH ORDINALITY AS a (id, actor, action, detail, n) JOIN fresh f USING (id) ORDER BY a.n
    ), placed AS MATERIALIZED (
      SELECT g.* FROM given g JOIN fresh f USING (id) WHERE g.lane IS NOT NULL
    ), locked AS (
      INSERT INTO lanes (identity_id, lane, service, instance, intent_id, bytes)
      SELECT DISTINCT ON (identity_id, lane) identity_id, lane, service, instance, id, bytes
        FROM placed ORDER BY identity_id, lane, n
      ON CONFLICT (identity_id, lane) DO UPDATE SET lane = excluded.lane WHERE false
      RETURNING 1
    ), appended AS (
      INSERT INTO outbox (intent_id, service, instance, identity_id, lane, bytes)
      SELECT id, service, instance, identity_id, lane, bytes FROM placed
       WHERE (SELECT count(*) FROM locked) >= 0 ORDER BY n
    )
    SELECT g.id AS given_id, b.lane IS NOT NULL AS is_busy, f.*
      FROM given g LEFT JOIN fresh f ON f.id = g.id
        LEFT JOIN busy b ON b.identity_id = g.identity_id AND b.lane = g.lane`;
}

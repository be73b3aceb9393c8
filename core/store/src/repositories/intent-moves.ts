/** Moves many intents in one statement: writes the new rows, and one step for each move. */
import { type Queryable, execute } from "../database.ts";
import type { IntentState } from "../tables.ts";
import type { Intent } from "./intents.ts";

/** The columns of an intent that a move needs: all but its content. */
export type StandingIntent = Omit<Intent, "payload" | "content">;

const STANDING =
  "id, ordinal, workspace_id, user_id, identity_id, service, action, conversation, trace_id, state, code, detail, " +
  "attempt, part, parts, remote_ids, ask_id, ask_epoch, go_until, created_at, updated_at, expires_at";

export interface LockedIntent extends StandingIntent {
  /** When the transaction began, by the database's clock: its times are compared with this one, not with a process's. */
  readonly locked_at: Date;
}

/** An intent as somebody names it who may see one workspace only. */
export interface NamedIntent {
  readonly id: string;
  readonly workspaceId: string;
}

/**
 * Takes the row locks in the order of the ids, so that two who lock several never wait for each other. Ids that are
 * unknown in the workspace are left out: who names another workspace's intent neither waits for its row nor holds it.
 */
export async function lockIntents(on: Queryable, intents: readonly NamedIntent[]): Promise<LockedIntent[]> {
  if (intents.length === 0) return [];
  const { rows } = await execute<LockedIntent & Record<string, unknown>>(
    on,
    `SELECT ${STANDING}, now() AS locked_at FROM intents
      WHERE id = ANY ($1::text[]) AND workspace_id || ' ' || id = ANY ($2::text[]) ORDER BY id FOR UPDATE`,
    [
      [...new Set(intents.map(({ id }) => id))],
      [...new Set(intents.map(({ id, workspaceId }) => `${workspaceId} ${id}`))],
    ],
    "intents.lock",
  );
  return rows;
}

/** Members that are absent stay as they are; null empties. */
export interface IntentChange {
  readonly state: IntentState;
  readonly code?: string | null;
  readonly detail?: string | null;
  readonly part?: number;
  readonly parts?: number | null;
  readonly remoteIds?: readonly string[];
  readonly askId?: string | null;
  readonly askEpoch?: number | null;
  readonly goUntil?: Date | null;
  readonly decision?: Record<string, unknown>;
}

export interface IntentMove {
  readonly id: string;
  readonly change: IntentChange;
}

/** Columns that can be set to null; one bit each tells whether the change names it. */
const NULLABLE = ["code", "detail", "parts", "askId", "askEpoch", "goUntil"] as const;

// Steps of one intent are ordered by their times, so those of one statement are a microsecond apart.
const MOVE = `
WITH given AS (
  SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::int[], $6::int[], $7::text[], $8::text[],
                       $9::bigint[], $10::timestamptz[], $11::text[], $12::int[])
    AS t (id, state, code, detail, part, parts, remote_ids, ask_id, ask_epoch, go_until, decision, given)
), moved AS (
  UPDATE intents i
     SET state = g.state, updated_at = now(),
         code = CASE WHEN g.given & 1 > 0 THEN g.code ELSE i.code END,
         detail = CASE WHEN g.given & 2 > 0 THEN g.detail ELSE i.detail END,
         part = coalesce(g.part, i.part),
         parts = CASE WHEN g.given & 4 > 0 THEN g.parts ELSE i.parts END,
         remote_ids = CASE WHEN g.remote_ids IS NULL THEN i.remote_ids
                           ELSE ARRAY(SELECT jsonb_array_elements_text(g.remote_ids::jsonb)) END,
         ask_id = CASE WHEN g.given & 8 > 0 THEN g.ask_id ELSE i.ask_id END,
         ask_epoch = CASE WHEN g.given & 16 > 0 THEN g.ask_epoch ELSE i.ask_epoch END,
         go_until = CASE WHEN g.given & 32 > 0 THEN g.go_until ELSE i.go_until END,
         decision = coalesce(g.decision::jsonb, i.decision)
    FROM given g WHERE i.id = g.id
  RETURNING i.id, i.attempt, i.updated_at
), stepped AS (
  INSERT INTO intent_steps (at, intent_id, state, attempt, part, code, detail)
  SELECT statement_timestamp() + s.n * interval '1 microsecond', s.id, s.state, m.attempt, s.part, s.code, s.detail
    FROM unnest($13::text[], $14::text[], $15::int[], $16::text[], $17::text[], $18::int[])
           AS s (id, state, part, code, detail, n)
    JOIN moved m USING (id)
)
SELECT id, updated_at FROM moved`;

/**
 * Moves intents that the caller has locked and writes a step for each move; several moves of one intent are written
 * in their order. It knows no rules: the worker's `transition` does.
 *
 * @param moves each with where the intent stands before it
 * @returns when each intent was changed, by its id; an intent that is gone is left out
 */
export async function moveIntents(
  on: Queryable,
  moves: readonly (IntentMove & { readonly partBefore: number })[],
): Promise<Map<string, Date>> {
  if (moves.length === 0) return new Map();
  const rows = new Map<string, IntentChange>();
  const steps: [string, string, number, string | null, string | null, number][] = [];
  const count = new Map<string, number>();
  for (const { id, change, partBefore } of moves) {
    rows.set(id, { ...rows.get(id), ...change });
    const n = count.get(id) ?? 0;
    count.set(id, n + 1);
    steps.push([id, change.state, change.part ?? partBefore, change.code ?? null, change.detail ?? null, n]);
  }
  const changes = [...rows.values()];
  const { rows: moved } = await execute<{ id: string; updated_at: Date }>(
    on,
    MOVE,
    [
      [...rows.keys()],
      changes.map(({ state }) => state),
      changes.map(({ code }) => code ?? null),
      changes.map(({ detail }) => detail ?? null),
      changes.map(({ part }) => part ?? null),
      changes.map(({ parts }) => parts ?? null),
      changes.map(({ remoteIds }) => (remoteIds === undefined ? null : JSON.stringify(remoteIds))),
      changes.map(({ askId }) => askId ?? null),
      changes.map(({ askEpoch }) => askEpoch ?? null),
      changes.map(({ goUntil }) => goUntil ?? null),
      changes.map(({ decision }) => (decision === undefined ? null : JSON.stringify(decision))),
      changes.map((change) =>
        NULLABLE.reduce((bits, name, at) => (change[name] === undefined ? bits : bits | (1 << at)), 0),
      ),
      ...[0, 1, 2, 3, 4, 5].map((column) => steps.map((step) => step[column])),
    ],
    "intents.move",
  );
  return new Map(moved.map(({ id, updated_at }) => [id, updated_at]));
}

/** Envelopes that were refused, with the code, the route and the original bytes. */
import { createHash } from "node:crypto";
import { type Queryable, run, runFirst, sqlFor } from "../database.ts";
import type { QuarantineState } from "../tables.ts";
import { sql } from "kysely";

export interface Refused {
  readonly code: string;
  readonly detail: string;
  readonly routingKey: string;
  readonly issuer: string | undefined;
  readonly workspaceId: string | undefined;
  readonly messageId: string | undefined;
  readonly kid: string | undefined;
  readonly sig: string | undefined;
  readonly body: Uint8Array;
}

/** What a text column keeps of words that came with a refused envelope, characters. */
const MAX_DETAIL = 2_048;
/** The same for what the transport said of it: ids, keys, routes. */
const MAX_NAME = 512;
/** A signature with its inclusion proof, as long as the bus carries one: cut, it could never be retried. */
const MAX_SIGNATURE = 4_096;
const MAX_SEEN = 2_147_483_647;

/**
 * The same bytes refused again for the same reason raise `seen` instead of making a row. One that was retried is
 * open again then; one that was dropped stays so.
 */
export async function quarantine(on: Queryable, refused: Refused): Promise<string> {
  const row = await runFirst(
    on,
    sqlFor
      .insertInto("quarantine")
      .values({
        code: refused.code,
        detail: storable(refused.detail, MAX_DETAIL),
        routing_key: storable(refused.routingKey, MAX_NAME),
        issuer: storable(refused.issuer),
        workspace_id: storable(refused.workspaceId),
        message_id: storable(refused.messageId),
        kid: storable(refused.kid),
        sig: storable(refused.sig, MAX_SIGNATURE),
        body: Buffer.from(refused.body),
        body_hash: createHash("sha256").update(refused.body).digest(),
      })
      .onConflict((conflict) =>
        conflict.columns(["body_hash", "code", "routing_key"]).doUpdateSet({
          seen: sql<number>`least(quarantine.seen, ${MAX_SEEN - 1}) + 1`,
          at: sql<Date>`now()`,
          state: sql<QuarantineState>`CASE quarantine.state WHEN 'dropped' THEN 'dropped' ELSE 'open' END`,
        }),
      )
      .returning("id"),
  );
  if (row === undefined) throw new Error("an insert with RETURNING gave no row");
  return row.id;
}

export interface QuarantineFilter {
  readonly state?: QuarantineState;
  readonly workspaceId?: string;
  readonly code?: string;
  readonly limit: number;
}

export function listQuarantine(on: Queryable, filter: QuarantineFilter) {
  let query = sqlFor
    .selectFrom("quarantine")
    .select([
      "id",
      "at",
      "code",
      "detail",
      "routing_key",
      "issuer",
      "workspace_id",
      "message_id",
      "kid",
      "seen",
      "state",
    ])
    .orderBy("id", "desc")
    .limit(filter.limit);
  if (filter.state !== undefined) query = query.where("state", "=", filter.state);
  if (filter.workspaceId !== undefined) query = query.where("workspace_id", "=", filter.workspaceId);
  if (filter.code !== undefined) query = query.where("code", "=", filter.code);
  return run(on, query);
}

export function quarantined(on: Queryable, id: string) {
  return runFirst(on, sqlFor.selectFrom("quarantine").selectAll().where("id", "=", id));
}

/**
 * Settles a row that is not dropped yet.
 *
 * @param seen the count that the caller acted on: a row that was refused once more meanwhile stays as it is
 */
export async function resolveQuarantined(
  on: Queryable,
  id: string,
  state: "retried" | "dropped",
  seen?: number,
): Promise<boolean> {
  let query = sqlFor
    .updateTable("quarantine")
    .set({ state })
    .where("id", "=", id)
    .where("state", "<>", "dropped");
  if (seen !== undefined) query = query.where("seen", "=", seen);
  const rows = await run(on, query.returning("id"));
  return rows.length === 1;
}

/** A text column holds no NUL, and no more of a stranger's words than anybody needs to read. */
function storable(text: string, maxLength?: number): string;
function storable(text: string | undefined, maxLength?: number): string | null;
function storable(text: string | undefined, maxLength = MAX_NAME): string | null {
  return text?.slice(0, maxLength).replaceAll("\0", "\uFFFD") ?? null;
}

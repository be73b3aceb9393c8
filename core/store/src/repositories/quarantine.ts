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

/** The same bytes refused again for the same reason raise `seen` instead of making a row. */
export async function quarantine(on: Queryable, refused: Refused): Promise<string> {
  const row = await runFirst(
    on,
    sqlFor
      .insertInto("quarantine")
      .values({
        code: refused.code,
        detail: refused.detail,
        routing_key: refused.routingKey,
        issuer: refused.issuer ?? null,
        workspace_id: refused.workspaceId ?? null,
        message_id: refused.messageId ?? null,
        kid: refused.kid?.slice(0, 256) ?? null,
        sig: refused.sig?.slice(0, 256) ?? null,
        body: Buffer.from(refused.body),
        body_hash: createHash("sha256").update(refused.body).digest(),
      })
      .onConflict((conflict) =>
        conflict
          .columns(["body_hash", "code", "routing_key"])
          .doUpdateSet({ seen: sql<number>`quarantine.seen + 1`, at: sql<Date>`now()` }),
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

export async function resolveQuarantined(
  on: Queryable,
  id: string,
  state: "retried" | "dropped",
): Promise<boolean> {
  const rows = await run(
    on,
    sqlFor
      .updateTable("quarantine")
      .set({ state })
      .where("id", "=", id)
      .where("state", "=", "open")
      .returning("id"),
  );
  return rows.length === 1;
}

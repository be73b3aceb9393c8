/** Counts of refusals: one row per minute, kind, workspace, subject and code. */
import { type Queryable, execute, run, sqlFor } from "../database.ts";

export interface Refusal {
  /** Its first instant. */
  readonly minute: Date;
  readonly kind: string;
  /** `_` where none is proven. */
  readonly workspaceId: string;
  /** `token:<name>`, `address:<address>`, `key:<kid>` or `others`. */
  readonly subject: string;
  readonly code: string;
  readonly count: number;
}

/** Adds to what is counted already. */
export async function addRefusals(on: Queryable, refusals: readonly Refusal[]): Promise<void> {
  if (refusals.length === 0) return;
  await execute(
    on,
    `INSERT INTO refusals AS r (minute, kind, workspace_id, subject, code, count)
     SELECT * FROM unnest($1::timestamptz[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[])
     ON CONFLICT (minute, kind, workspace_id, subject, code) DO UPDATE SET count = r.count + excluded.count`,
    [
      refusals.map((refusal) => refusal.minute.toISOString()),
      refusals.map((refusal) => refusal.kind),
      refusals.map((refusal) => refusal.workspaceId),
      refusals.map((refusal) => refusal.subject),
      refusals.map((refusal) => refusal.code),
      refusals.map((refusal) => refusal.count),
    ],
    "refusals.add",
  );
}

/** Newest first. @param filter without a workspace: of all, also of none */
export async function refusalsOf(
  on: Queryable,
  filter: { readonly workspaceId?: string; readonly limit: number },
): Promise<Refusal[]> {
  let query = sqlFor
    .selectFrom("refusals")
    .select(["minute", "kind", "workspace_id", "subject", "code", "count"])
    .orderBy("minute", "desc")
    .orderBy("count", "desc")
    .limit(filter.limit);
  if (filter.workspaceId !== undefined) query = query.where("workspace_id", "=", filter.workspaceId);
  const rows = await run(on, query);
  return rows.map(({ workspace_id, count, ...row }) => ({
    ...row,
    workspaceId: workspace_id,
    count: Number(count),
  }));
}

/** Forgets what is older than `days`, and of the rest all but about the newest `rows`. */
export async function pruneRefusals(
  on: Queryable,
  keep: { readonly days: number; readonly rows: number },
): Promise<void> {
  await execute(
    on,
    `DELETE FROM refusals WHERE minute < now() - make_interval(days => $1)
        OR minute < (SELECT minute FROM refusals ORDER BY minute DESC OFFSET $2 LIMIT 1)`,
    [keep.days, keep.rows],
  );
}

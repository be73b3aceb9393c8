/** Who did what to what, in the transaction of the deed. */
import { type Queryable, execute, run, sqlFor } from "../database.ts";

export interface AuditEntry {
  readonly workspaceId: string;
  /** `core`, `daemon:irc:libera`, `token:<name>`, `user:<id>`. */
  readonly actor: string;
  /** Past tense, dotted: `intent.recorded`, `identity.linked`. */
  readonly action: string;
  /** Id of what it happened to. */
  readonly subject: string;
  /** Never message text, never secrets. */
  readonly detail?: Record<string, unknown>;
}

export function audit(on: Queryable, entry: AuditEntry): Promise<void> {
  return auditAll(on, [entry]);
}

/** Many in one statement, in their order. */
export async function auditAll(on: Queryable, entries: readonly AuditEntry[]): Promise<void> {
  if (entries.length === 0) return;
  await execute(
    on,
    `INSERT INTO audit_entries (workspace_id, actor, action, subject, detail)
     SELECT workspace_id, actor, action, subject, detail::jsonb
       FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[])
         WITH ORDINALITY AS t (workspace_id, actor, action, subject, detail, n) ORDER BY n`,
    [
      entries.map(({ workspaceId }) => workspaceId),
      entries.map(({ actor }) => actor),
      entries.map(({ action }) => action),
      entries.map(({ subject }) => subject),
      entries.map(({ detail }) => JSON.stringify(detail ?? {})),
    ],
    "audit.append",
  );
}

export function auditTrail(
  on: Queryable,
  filter: { readonly workspaceId: string; readonly subject?: string; readonly limit: number },
) {
  let query = sqlFor
    .selectFrom("audit_entries")
    .select(["id", "at", "actor", "action", "subject", "detail"])
    .where("workspace_id", "=", filter.workspaceId)
    .orderBy("at", "desc")
    .orderBy("id", "desc")
    .limit(filter.limit);
  if (filter.subject !== undefined) query = query.where("subject", "=", filter.subject);
  return run(on, query);
}

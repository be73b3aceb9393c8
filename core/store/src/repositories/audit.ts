/** Who did what to what, in the transaction of the deed. */
import { type Queryable, run, sqlFor } from "../database.ts";

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

export async function audit(on: Queryable, entry: AuditEntry): Promise<void> {
  await run(
    on,
    sqlFor.insertInto("audit_entries").values({
      workspace_id: entry.workspaceId,
      actor: entry.actor,
      action: entry.action,
      subject: entry.subject,
      detail: JSON.stringify(entry.detail ?? {}),
    }),
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

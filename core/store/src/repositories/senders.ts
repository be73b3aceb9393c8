/** How linked identities are named as senders on their platforms, so that their own words are known as theirs. */
import { type Queryable, execute } from "../database.ts";

export interface SenderRef {
  readonly workspaceId: string;
  readonly ref: string;
}

/** Whose refs these are: linked accounts that are connected; a name may be somebody else's when they are not. */
export async function ownersOfRefs(
  on: Queryable,
  asked: readonly SenderRef[],
): Promise<(SenderRef & { readonly account: string })[]> {
  if (asked.length === 0) return [];
  const { rows } = await execute<{ workspace_id: string; ref: string; account: string }>(
    on,
    `SELECT r.workspace_id, r.ref, r.account
       FROM identity_refs r JOIN identities i ON i.id = r.account
      WHERE (r.workspace_id, r.ref) IN (SELECT * FROM unnest($1::text[], $2::text[]))
        AND i.state = 'linked' AND i.bridge_state IN ('connected', 'backfilling', 'running')
        AND EXISTS (SELECT 1 FROM instance_leases l
                     WHERE l.service = i.service AND l.instance = i.instance AND l.expires_at > now())
      ORDER BY i.created_at, i.id`,
    [asked.map((one) => one.workspaceId), asked.map((one) => one.ref)],
    "senders.owners",
  );
  return rows.map(({ workspace_id, ref, account }) => ({ workspaceId: workspace_id, ref, account }));
}

/** Keeps the names that accounts were last seen under. @param own at most one for each account */
export async function saveRefs(
  on: Queryable,
  own: readonly (SenderRef & { readonly account: string })[],
): Promise<void> {
  if (own.length === 0) return;
  await execute(
    on,
    `INSERT INTO identity_refs AS r (account, workspace_id, ref)
     SELECT * FROM unnest($1::text[], $2::text[], $3::text[])
     ON CONFLICT (account) DO UPDATE SET workspace_id = excluded.workspace_id, ref = excluded.ref
      WHERE r.ref <> excluded.ref OR r.workspace_id <> excluded.workspace_id`,
    [own.map((one) => one.account), own.map((one) => one.workspaceId), own.map((one) => one.ref)],
    "senders.save",
  );
}

/** Forgets names where they are still the accounts' own. */
export async function forgetRefs(
  on: Queryable,
  lost: readonly (SenderRef & { readonly account: string })[],
): Promise<void> {
  if (lost.length === 0) return;
  await execute(
    on,
    `DELETE FROM identity_refs
      WHERE (account, workspace_id, ref) IN (SELECT * FROM unnest($1::text[], $2::text[], $3::text[]))`,
    [lost.map((one) => one.account), lost.map((one) => one.workspaceId), lost.map((one) => one.ref)],
    "senders.forget",
  );
}

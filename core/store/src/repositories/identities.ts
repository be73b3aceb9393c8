/** Identities and contacts. */
import { FabricError } from "@linkspan/envelopes";
import { sql } from "kysely";
import { type Queryable, execute, run, runFirst, sqlFor } from "../database.ts";

export interface Identity {
  readonly id: string;
  readonly workspace_id: string;
  readonly user_id: string;
  readonly service: string;
  readonly home: string;
  readonly instance: string;
  readonly remote: string | null;
  readonly name: string | null;
  readonly state: "pending" | "linked" | "unlinked";
  readonly settings: Record<string, unknown>;
  readonly bridge_state: string;
  readonly bridge_detail: Record<string, unknown>;
  readonly capabilities: Record<string, unknown>;
  readonly created_at: Date;
  readonly updated_at: Date;
}

export function insertIdentity(
  on: Queryable,
  identity: Pick<Identity, "id" | "workspace_id" | "user_id" | "service" | "instance" | "settings">,
): Promise<Identity | undefined> {
  return runFirst(
    on,
    sqlFor
      .insertInto("identities")
      .values({
        ...identity,
        settings: JSON.stringify(identity.settings),
        home: identity.instance,
        state: "pending",
      })
      .returningAll(),
  );
}

export function identityById(on: Queryable, id: string): Promise<Identity | undefined> {
  return runFirst(on, sqlFor.selectFrom("identities").selectAll().where("id", "=", id));
}

export async function identitiesById(on: Queryable, ids: readonly string[]): Promise<Identity[]> {
  const { rows } = await execute<Identity>(
    on,
    "SELECT * FROM identities WHERE id = ANY ($1::text[])",
    [ids],
    "identities.by_ids",
  );
  return rows;
}

/** Oldest first. @param filter `after`: id of the last one of the page before */
export function identitiesOf(
  on: Queryable,
  filter: {
    readonly workspaceId: string;
    readonly userId?: string;
    readonly service?: string;
    readonly instance?: string;
    readonly after?: string;
    readonly limit: number;
  },
): Promise<Identity[]> {
  let query = sqlFor
    .selectFrom("identities")
    .selectAll()
    .where("workspace_id", "=", filter.workspaceId)
    .where("state", "<>", "unlinked")
    .orderBy("created_at")
    .orderBy("id")
    .limit(filter.limit);
  if (filter.after !== undefined) {
    // By the row's own time: a driver's dates have fewer digits than the table's.
    query = query.where(
      sql<boolean>`(created_at, id) > (SELECT created_at, id FROM identities WHERE id = ${filter.after} AND workspace_id = ${filter.workspaceId})`,
    );
  }
  if (filter.userId !== undefined) query = query.where("user_id", "=", filter.userId);
  if (filter.service !== undefined) query = query.where("service", "=", filter.service);
  if (filter.instance !== undefined) query = query.where("instance", "=", filter.instance);
  return run(on, query);
}

/**
 * Keeps an identity from being unlinked while the transaction runs; what others change of it goes on.
 *
 * @returns the identity as it stands once the lock is granted
 */
export function holdIdentity(on: Queryable, id: string): Promise<Identity | undefined> {
  return runFirst(on, sqlFor.selectFrom("identities").selectAll().where("id", "=", id).forKeyShare());
}

/** Waits for those who hold it, and lets nobody hold it until the transaction ends. */
export function lockIdentity(on: Queryable, id: string): Promise<Identity | undefined> {
  return runFirst(on, sqlFor.selectFrom("identities").selectAll().where("id", "=", id).forUpdate());
}

/** From which states an identity may enter one. An unlinked identity stays so. */
const IDENTITY_FROM: Readonly<Record<Identity["state"], readonly Identity["state"][]>> = {
  pending: ["pending"],
  linked: ["pending", "linked"],
  unlinked: ["pending", "linked", "unlinked"],
};

/** @throws FabricError `request.invalid` for a change of state that the identity's own state does not allow */
export async function updateIdentity(
  on: Queryable,
  id: string,
  change: Partial<
    Pick<
      Identity,
      "remote" | "name" | "state" | "settings" | "bridge_state" | "bridge_detail" | "capabilities"
    >
  >,
): Promise<void> {
  const { settings, bridge_detail, capabilities, ...plain } = change;
  const from = change.state === undefined ? undefined : IDENTITY_FROM[change.state];
  const changed = await run(
    on,
    sqlFor
      .updateTable("identities")
      .set({
        ...plain,
        ...(settings !== undefined && { settings: JSON.stringify(settings) }),
        ...(bridge_detail !== undefined && { bridge_detail: JSON.stringify(bridge_detail) }),
        ...(capabilities !== undefined && { capabilities: JSON.stringify(capabilities) }),
        ...(change.state === "unlinked" && {
          credential_to_drop: true,
          unlinked_at: sql<Date>`coalesce(unlinked_at, now())`,
        }),
        updated_at: sql<Date>`now()`,
      })
      .where("id", "=", id)
      .$if(from !== undefined, (query) => query.where("state", "in", [...(from ?? [])]))
      .returning("id"),
  );
  if (from !== undefined && changed.length === 0)
    throw new FabricError("request.invalid", "the account was unlinked meanwhile");
}

/** Whose account it is, and where. */
export type LinkedAs = Pick<Identity, "workspace_id" | "service" | "instance" | "user_id">;

/** Linked accounts of these users at these instances. */
export async function linkedIdentities(on: Queryable, users: readonly LinkedAs[]): Promise<Identity[]> {
  const { rows } = await execute<Identity>(
    on,
    `SELECT * FROM identities
      WHERE state = 'linked' AND (workspace_id, service, instance, user_id) IN (
        SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]))`,
    [
      users.map((user) => user.workspace_id),
      users.map((user) => user.service),
      users.map((user) => user.instance),
      users.map((user) => user.user_id),
    ],
    "identities.linked_as",
  );
  return rows;
}

export interface ReportedState {
  readonly account: string;
  readonly state: string;
  readonly detail: Record<string, unknown>;
  /** Lease epoch under which it was reported; 0 where the reporter has none. */
  readonly epoch: number;
}

/**
 * Keeps a reported state unless one of a newer epoch is there. Within an epoch the later call wins.
 *
 * @returns what it replaced, or undefined when it was out of date
 */
export async function saveBridgeState(
  on: Queryable,
  { account, state, detail, epoch }: ReportedState,
): Promise<Pick<Identity, "workspace_id" | "bridge_state"> | undefined> {
  const { rows } = await execute<Pick<Identity, "workspace_id" | "bridge_state">>(
    on,
    `WITH before AS (
       SELECT id, bridge_state FROM identities
        WHERE id = $1 AND state <> 'unlinked' AND bridge_epoch <= $4 FOR UPDATE)
     UPDATE identities i SET bridge_state = $2, bridge_detail = $3, bridge_epoch = $4, updated_at = now()
       FROM before WHERE i.id = before.id
     RETURNING i.workspace_id, before.bridge_state`,
    [account, state, JSON.stringify(detail), epoch],
    "identities.state",
  );
  return rows[0];
}

/**
 * Identities that were never linked and whose session is over: they become `unlinked`.
 *
 * @returns those that were ended, at most 500
 */
export async function endPendingIdentities(on: Queryable): Promise<{ id: string; workspace_id: string }[]> {
  const { rows } = await execute<{ id: string; workspace_id: string }>(
    on,
    `UPDATE identities SET state = 'unlinked', credential_to_drop = true, updated_at = now(), unlinked_at = now()
      WHERE id = ANY (ARRAY(
        SELECT i.id FROM identities i
         WHERE i.state = 'pending' AND EXISTS (SELECT 1 FROM auth_sessions s WHERE s.identity_id = i.id)
           AND NOT EXISTS (SELECT 1 FROM auth_sessions s WHERE s.identity_id = i.id
                              AND s.state IN ('initiated', 'awaiting_user', 'completing'))
         ORDER BY i.id LIMIT 500 FOR UPDATE SKIP LOCKED))
     RETURNING id, workspace_id`,
    [],
    "identities.abandoned",
  );
  return rows;
}

/** Longer than a link that is under way may take: it could still put a credential into the vault. */
const LINKS_END_WITHIN = "5 minutes";

/** Identities that were unlinked some minutes ago and whose credential is not known to be gone. */
export async function identitiesToForget(
  on: Queryable,
  limit: number,
): Promise<Pick<Identity, "id" | "workspace_id" | "service">[]> {
  const { rows } = await execute<Pick<Identity, "id" | "workspace_id" | "service">>(
    on,
    `SELECT id, workspace_id, service FROM identities
      WHERE credential_to_drop AND unlinked_at < now() - interval '${LINKS_END_WITHIN}'
      ORDER BY unlinked_at LIMIT $1`,
    [limit],
    "identities.to_forget",
  );
  return rows;
}

/** The credential of an unlinked identity is gone. */
export async function credentialDropped(on: Queryable, id: string): Promise<void> {
  await execute(on, "UPDATE identities SET credential_to_drop = false WHERE id = $1", [id]);
}

/** Identities unlinked within the last two days that still have unsettled intents. */
export async function unlinkedWithIntents(on: Queryable, limit = 100): Promise<string[]> {
  const { rows } = await execute<{ id: string }>(
    on,
    `SELECT i.id FROM identities i
      WHERE i.state = 'unlinked' AND i.unlinked_at > now() - interval '2 days'
        AND EXISTS (SELECT 1 FROM intents t WHERE t.workspace_id = i.workspace_id AND t.identity_id = i.id
                       AND t.state IN ('recorded', 'held', 'queued', 'attempting'))
      LIMIT $1`,
    [limit],
  );
  return rows.map(({ id }) => id);
}

export async function upsertContacts(
  on: Queryable,
  workspaceId: string,
  identityId: string,
  entries: readonly { readonly ref: string; readonly kind: "contact" | "channel"; readonly name: string }[],
): Promise<void> {
  if (entries.length === 0) return;
  await execute(
    on,
    `INSERT INTO contacts (workspace_id, identity_id, ref, kind, name)
     SELECT DISTINCT ON (ref) $1, $2, ref, kind, name FROM unnest($3::text[], $4::text[], $5::text[]) AS t (ref, kind, name)
     ON CONFLICT (workspace_id, identity_id, ref) DO UPDATE SET kind = excluded.kind, name = excluded.name, updated_at = now()`,
    [
      workspaceId,
      identityId,
      entries.map((entry) => entry.ref),
      entries.map((entry) => entry.kind),
      entries.map((entry) => entry.name),
    ],
  );
}

/** By ref. @param page `after`: ref of the last one of the page before */
export function contactsOf(
  on: Queryable,
  workspaceId: string,
  identityId: string,
  page: { readonly after?: string; readonly limit: number },
) {
  let query = sqlFor
    .selectFrom("contacts")
    .select(["ref", "kind", "name", "updated_at"])
    .where("workspace_id", "=", workspaceId)
    .where("identity_id", "=", identityId)
    .orderBy("ref")
    .limit(page.limit);
  if (page.after !== undefined) query = query.where("ref", ">", page.after);
  return run(on, query);
}

/** Accounts of a workspace that are linked, and that are being linked; each is counted up to its bound. */
export async function accountsInUse(
  on: Queryable,
  workspaceId: string,
  bounds: { readonly linked: number; readonly pending: number },
): Promise<{ readonly linked: number; readonly pending: number }> {
  const count = (state: string, limit: string) =>
    `(SELECT count(*)::int FROM
       (SELECT 1 FROM identities WHERE workspace_id = $1 AND state = '${state}' LIMIT ${limit}) i)`;
  const { rows } = await execute<{ linked: number; pending: number }>(
    on,
    `SELECT ${count("linked", "$2")} AS linked, ${count("pending", "$3")} AS pending`,
    [workspaceId, bounds.linked, bounds.pending],
    "identities.in_use",
  );
  return rows[0] ?? { linked: 0, pending: 0 };
}

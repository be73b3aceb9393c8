/** A namespace's declaration, its API tokens and connector flags. */
import { sql } from "kysely";
import { type Queryable, execute, run, runFirst, sqlFor } from "../database.ts";
import type { Role } from "../tables.ts";

/** Registers the namespace, or reads how it was registered. */
export async function openNamespace(
  on: Queryable,
  name: string,
  partitions: number,
): Promise<{ generation: number; partitions: number }> {
  await run(
    on,
    sqlFor
      .insertInto("namespace")
      .values({ name, generation: 1, partitions })
      .onConflict((conflict) => conflict.column("name").doNothing()),
  );
  const row = await runFirst(on, sqlFor.selectFrom("namespace").selectAll().where("name", "=", name));
  if (row === undefined) throw new Error("the namespace row just written is missing");
  return row;
}

export interface ApiToken {
  readonly name: string;
  readonly workspace_id: string;
  readonly role: Role;
}

export async function insertApiToken(on: Queryable, tokenHash: Uint8Array, token: ApiToken): Promise<void> {
  await run(
    on,
    sqlFor
      .insertInto("api_tokens")
      .values({ token_hash: Buffer.from(tokenHash), ...token, revoked_at: null }),
  );
}

export function apiToken(on: Queryable, tokenHash: Uint8Array): Promise<ApiToken | undefined> {
  return runFirst(
    on,
    sqlFor
      .selectFrom("api_tokens")
      .select(["name", "workspace_id", "role"])
      .where("token_hash", "=", Buffer.from(tokenHash))
      .where("revoked_at", "is", null),
  );
}

/** Those of the tokens that are in force, by the hexadecimal form of their hash. */
export async function apiTokensByHash(
  on: Queryable,
  hashes: readonly Uint8Array[],
): Promise<Map<string, ApiToken>> {
  const { rows } = await execute<ApiToken & { readonly hash: string }>(
    on,
    `SELECT encode(token_hash, 'hex') AS hash, name, workspace_id, role
       FROM api_tokens WHERE token_hash = ANY($1::bytea[]) AND revoked_at IS NULL`,
    [hashes.map((hash) => Buffer.from(hash))],
    "tokens.by_hash",
  );
  return new Map(rows.map(({ hash, ...token }) => [hash, token]));
}

/** Tokens in force of one workspace, oldest first; `*` are those for all. */
export function apiTokensOf(
  on: Queryable,
  workspaceId: string,
  limit: number,
): Promise<(ApiToken & { readonly created_at: Date })[]> {
  return run(
    on,
    sqlFor
      .selectFrom("api_tokens")
      .select(["name", "workspace_id", "role", "created_at"])
      .where("workspace_id", "=", workspaceId)
      .where("revoked_at", "is", null)
      .orderBy("created_at")
      .limit(limit),
  );
}

export async function revokeApiTokens(on: Queryable, workspaceId: string, name: string): Promise<number> {
  const rows = await run(
    on,
    sqlFor
      .updateTable("api_tokens")
      .set({ revoked_at: sql<Date>`now()` })
      .where("workspace_id", "=", workspaceId)
      .where("name", "=", name)
      .where("revoked_at", "is", null)
      .returning("name"),
  );
  return rows.length;
}

/** A row for workspace `*` applies to all of them. */
export interface ConnectorFlag {
  readonly workspace_id: string;
  readonly service: string;
  readonly enabled: boolean;
}

/** Flags that are set for any of the workspaces, and for all of them. */
export async function flagsFor(on: Queryable, workspaceIds: readonly string[]): Promise<ConnectorFlag[]> {
  const { rows } = await execute<ConnectorFlag & Record<string, unknown>>(
    on,
    "SELECT workspace_id, service, enabled FROM connector_flags WHERE workspace_id = ANY ($1::text[])",
    [["*", ...workspaceIds]],
    "flags.for",
  );
  return rows;
}

/** The settings that decide about a service in a workspace, with who and why; `*` as service asks for those of all. */
export function explainFlags(on: Queryable, workspaceId: string, service: string) {
  return run(
    on,
    sqlFor
      .selectFrom("connector_flags")
      .select(["workspace_id", "service", "enabled", "who", "why", "changed_at"])
      .where("workspace_id", "in", ["*", workspaceId])
      .where((where) =>
        where.or([
          where("service", "=", service),
          where.and([where("service", "=", "*"), where("workspace_id", "=", "*")]),
        ]),
      )
      .orderBy("changed_at", "desc"),
  );
}

export async function setFlag(
  on: Queryable,
  flag: ConnectorFlag & { readonly who: string; readonly why: string },
): Promise<void> {
  await run(
    on,
    sqlFor
      .insertInto("connector_flags")
      .values(flag)
      .onConflict((conflict) =>
        conflict.columns(["workspace_id", "service"]).doUpdateSet({
          enabled: flag.enabled,
          who: flag.who,
          why: flag.why,
          changed_at: sql<Date>`now()`,
        }),
      ),
  );
}

/** What a namespace knows of its participants: key records, enrolment and API tokens, connector flags. */
import type { KeyRecord } from "@linkspan/envelopes";
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

export async function keyRecords(on: Queryable): Promise<KeyRecord[]> {
  const { rows } = await execute<{ record: KeyRecord }>(
    on,
    "SELECT record FROM key_records ORDER BY created_at",
  );
  return rows.map((row) => row.record);
}

export async function saveKeyRecord(on: Queryable, record: KeyRecord): Promise<void> {
  await run(
    on,
    sqlFor
      .insertInto("key_records")
      .values({ kid: record.kid, record: JSON.stringify(record) })
      .onConflict((conflict) => conflict.column("kid").doUpdateSet({ record: JSON.stringify(record) })),
  );
}

export interface Enrolment {
  readonly issuers: string[];
  readonly services: string[];
  readonly workspaces: string[];
}

export async function insertEnrolment(
  on: Queryable,
  tokenHash: Uint8Array,
  enrolment: Enrolment,
  expiresAt: Date,
): Promise<void> {
  await run(
    on,
    sqlFor
      .insertInto("enrolments")
      .values({ token_hash: Buffer.from(tokenHash), ...enrolment, expires_at: expiresAt, used_at: null }),
  );
}

/** Spends a one-time token. @returns what it allows, or undefined when it is unknown, spent or too old */
export function spendEnrolment(on: Queryable, tokenHash: Uint8Array): Promise<Enrolment | undefined> {
  return runFirst(
    on,
    sqlFor
      .updateTable("enrolments")
      .set({ used_at: sql<Date>`now()` })
      .where("token_hash", "=", Buffer.from(tokenHash))
      .where("used_at", "is", null)
      .where("expires_at", ">", sql<Date>`now()`)
      .returning(["issuers", "services", "workspaces"]),
  );
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

/** Tokens in force of one workspace; `*` are those for all. */
export function apiTokensOf(
  on: Queryable,
  workspaceId: string,
): Promise<(ApiToken & { readonly created_at: Date })[]> {
  return run(
    on,
    sqlFor
      .selectFrom("api_tokens")
      .select(["name", "workspace_id", "role", "created_at"])
      .where("workspace_id", "=", workspaceId)
      .where("revoked_at", "is", null)
      .orderBy("created_at"),
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

/** A row for workspace `*` speaks for all of them. */
export interface ConnectorFlag {
  readonly workspace_id: string;
  readonly service: string;
  readonly enabled: boolean;
}

export function flagsFor(on: Queryable, workspaceId: string): Promise<ConnectorFlag[]> {
  return run(
    on,
    sqlFor
      .selectFrom("connector_flags")
      .select(["workspace_id", "service", "enabled"])
      .where("workspace_id", "in", ["*", workspaceId]),
  );
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

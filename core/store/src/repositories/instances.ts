/** Instances: what their daemons announced, how they do, and the identities that they serve, page by page. */
import { type Queryable, execute } from "../database.ts";
import type { Identity } from "./identities.ts";

export interface InstanceKey {
  readonly service: string;
  readonly instance: string;
}

/** @param epoch of the lease under which it was announced; absent: it holds none */
export async function saveDeclaration(
  on: Queryable,
  { service, instance }: InstanceKey,
  declaration: Readonly<Record<string, unknown>>,
  epoch?: number,
): Promise<void> {
  await execute(
    on,
    `INSERT INTO instances (service, instance, declaration, announced_at, announced_epoch)
     VALUES ($1, $2, $3, now(), $4)
     ON CONFLICT (service, instance) DO UPDATE SET declaration = excluded.declaration, announced_at = now(),
       announced_epoch = excluded.announced_epoch`,
    [service, instance, JSON.stringify(declaration), epoch],
    "instances.declare",
  );
}

export interface Declared extends InstanceKey {
  readonly declaration: Record<string, unknown>;
}

export interface Announced extends Declared {
  /** Epoch of the lease under which it was announced. */
  readonly epoch: number | null;
}

/** The last announcement of an instance's daemon; undefined when there is none. */
export async function declarationOf(
  on: Queryable,
  { service, instance }: InstanceKey,
): Promise<Record<string, unknown> | undefined> {
  const { rows } = await execute<{ declaration: Record<string, unknown> | null }>(
    on,
    "SELECT declaration FROM instances WHERE service = $1 AND instance = $2",
    [service, instance],
    "instances.declaration",
  );
  return rows[0]?.declaration ?? undefined;
}

/** The announcement of each of these; those without one are left out. */
export async function declarationsOf(on: Queryable, keys: readonly InstanceKey[]): Promise<Announced[]> {
  if (keys.length === 0) return [];
  const { rows } = await execute<Announced>(
    on,
    `SELECT service, instance, declaration, announced_epoch::float8 AS epoch FROM instances
      WHERE declaration IS NOT NULL
        AND (service, instance) IN (SELECT * FROM unnest($1::text[], $2::text[]))`,
    [keys.map((key) => key.service), keys.map((key) => key.instance)],
    "instances.declarations_of",
  );
  return rows;
}

/**
 * One declaration of each service: that of the instance where accounts are linked when none is named, and where it
 * does not exist, of the first by name. Who announces something cannot come before another by doing so.
 */
export async function declarations(on: Queryable, preferred: string): Promise<Declared[]> {
  const { rows } = await execute<Declared>(
    on,
    `SELECT DISTINCT ON (service) service, instance, declaration FROM instances
      WHERE declaration IS NOT NULL ORDER BY service, instance = $1 DESC, instance LIMIT 100`,
    [preferred],
    "instances.declarations",
  );
  return rows;
}

/** Whether a daemon of this service ever announced itself, or holds an instance. */
export async function isServiceKnown(on: Queryable, service: string): Promise<boolean> {
  const { rows } = await execute<{ known: boolean }>(
    on,
    `SELECT EXISTS (SELECT 1 FROM instances WHERE service = $1)
         OR EXISTS (SELECT 1 FROM instance_leases WHERE service = $1) AS known`,
    [service],
    "instances.known",
  );
  return rows[0]?.known ?? false;
}

export interface InstanceHealth {
  readonly health: "ok" | "degraded" | "down";
  /** Why the instance cannot serve at all, if so. */
  readonly code: string | undefined;
  readonly detail: string | undefined;
}

export async function saveInstanceHealth(
  on: Queryable,
  { service, instance }: InstanceKey,
  { health, code, detail }: InstanceHealth,
): Promise<void> {
  await execute(
    on,
    `INSERT INTO instances (service, instance, health, health_code, health_detail, health_at)
     VALUES ($1, $2, $3, $4, $5, now())
     ON CONFLICT (service, instance) DO UPDATE
        SET health = excluded.health, health_code = excluded.health_code,
            health_detail = excluded.health_detail, health_at = now()`,
    [service, instance, health, code ?? null, detail ?? null],
    "instances.health",
  );
}

export interface StuckInstance extends InstanceKey {
  readonly code: string;
  readonly detail: string | null;
}

/** Instances that are held and whose daemon reports that it cannot serve them; at most `limit`. */
export async function stuckInstances(on: Queryable, limit: number): Promise<StuckInstance[]> {
  const { rows } = await execute<StuckInstance>(
    on,
    `SELECT i.service, i.instance, i.health_code AS code, i.health_detail AS detail
       FROM instances i JOIN instance_leases l USING (service, instance)
      WHERE i.health_code IS NOT NULL AND l.expires_at > now() ORDER BY service, instance LIMIT $1`,
    [limit],
    "instances.stuck",
  );
  return rows;
}

export interface Page {
  /** Id of the last identity of the page before; empty for the first page. */
  readonly after: string;
  readonly count: number;
  /** Bytes of settings and checkpoints; the first identity comes whatever it needs. */
  readonly bytes: number;
  /** An identity beyond this comes without its settings and checkpoint: it cannot be handed out. */
  readonly identityBytes: number;
}

export interface PagedIdentity extends Omit<Identity, "capabilities"> {
  readonly checkpoint: Record<string, unknown> | null;
  readonly is_too_large: boolean;
}

/** Linked identities of an instance in the order of their ids, as many as fit a page. */
export async function identityPage(
  on: Queryable,
  { service, instance }: InstanceKey,
  { after, count, bytes, identityBytes }: Page,
): Promise<PagedIdentity[]> {
  const { rows } = await execute<PagedIdentity>(
    on,
    `WITH sized AS (
       SELECT i.id, octet_length(i.settings::text) + coalesce(octet_length(c.cursor::text), 0) AS bytes
         FROM identities i LEFT JOIN checkpoints c ON c.account = i.id
        WHERE i.service = $1 AND i.instance = $2 AND i.state = 'linked' AND i.id > $3
        ORDER BY i.id LIMIT $4),
     summed AS (
       SELECT id, bytes > $6 AS is_too_large,
              sum(CASE WHEN bytes > $6 THEN 0 ELSE bytes END) OVER (ORDER BY id) AS total,
              row_number() OVER (ORDER BY id) AS place
         FROM sized)
     SELECT i.id, i.workspace_id, i.user_id, i.service, i.home, i.instance, i.remote, i.name, i.state,
            i.bridge_state, i.bridge_detail, i.created_at, i.updated_at, s.is_too_large,
            CASE WHEN s.is_too_large THEN '{}' ELSE i.settings END AS settings,
            CASE WHEN NOT s.is_too_large THEN c.cursor END AS checkpoint
       FROM summed s JOIN identities i USING (id) LEFT JOIN checkpoints c ON c.account = i.id
      WHERE s.place = 1 OR s.total <= $5
      ORDER BY i.id`,
    [service, instance, after, count, bytes, identityBytes],
    "identities.page",
  );
  return rows;
}

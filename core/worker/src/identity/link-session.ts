/** Shared by every step of linking: the declaration in force, the fields that it shows, and the audit. */
import { FabricError, type LinkField, MAX_SETTINGS_BYTES, PRIMARY } from "@linkspan/envelopes";
import { audit, type AuthSession, type Identity, identityById, type Queryable } from "@linkspan/store";
import type { Core } from "../core.ts";
import { type CatalogEntry, requireDeclaration } from "./catalog.ts";

/** The identity's values after a link that did not succeed. */
export const NOTHING_LEFT = { state: "unlinked", settings: {}, remote: null, name: null } as const;

export async function declarationFor(core: Core, session: AuthSession): Promise<CatalogEntry> {
  const identity = await identityById(core.database.pool, session.identity_id);
  const { service } = session;
  return requireDeclaration(core.database.pool, { service, instance: identity?.instance ?? PRIMARY });
}

/** A field in the form that a user interface needs. */
export function shown({ name, label, required, secret, example }: LinkField) {
  return { name, label, required, secret, ...(example !== undefined && { example }) };
}

export function bytesOf(secrets: ReadonlyMap<string, string>): Record<string, Uint8Array> {
  const encoder = new TextEncoder();
  return Object.fromEntries([...secrets].map(([name, value]) => [name, encoder.encode(value)]));
}

/** @throws FabricError `request.invalid` when the settings are too large together */
export function merged(known: Record<string, unknown> | undefined, more: Record<string, unknown>) {
  const settings = { ...known, ...more };
  if (Buffer.byteLength(JSON.stringify(settings)) <= MAX_SETTINGS_BYTES) return settings;
  throw new FabricError(
    "request.invalid",
    `the settings are larger than ${MAX_SETTINGS_BYTES} bytes together`,
  );
}

export function daemonName(identity: Identity): string {
  return `daemon:${identity.service}:${identity.instance}`;
}

export function note(
  on: Queryable,
  session: AuthSession,
  actor: string,
  action: string,
  detail = {},
): Promise<void> {
  return audit(on, {
    workspaceId: session.workspace_id,
    actor,
    action,
    subject: session.identity_id,
    detail: { session_id: session.id, service: session.service, ...detail },
  });
}

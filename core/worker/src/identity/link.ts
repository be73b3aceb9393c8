/**
 * Linking an account (contract section 9):
 *
 *   initiated → awaiting_user → completing → linked | failed | expired | cancelled
 *
 * A session makes a pending identity. What the person enters is held against the connector's declaration before
 * anything is stored: settings go to the identity, secrets are handed over to the vault and become the credential
 * once they were found good, and a field that is not declared is refused. The daemon that holds the instance is
 * asked to link with a session ticket; it fetches the secrets itself, tries them, and says `linked`, `failed` or what
 * it needs next. A link that fails or is given up leaves neither settings nor secrets.
 */
import { randomUUID } from "node:crypto";
import {
  FabricError,
  fieldOf,
  isFabricError,
  type LinkField,
  type LinkFields,
  type LinkReply,
  MAX_SETTINGS_BYTES,
  PRIMARY,
  takeLinkFields,
} from "@linkspan/envelopes";
import {
  audit,
  type AuthSession,
  authSessionById,
  currentLease,
  type Identity,
  identityById,
  insertAuthSession,
  insertIdentity,
  lockAuthSession,
  moveAuthSession,
  type Queryable,
  updateIdentity,
} from "@linkspan/store";
import type { Core } from "../core.ts";
import { tellChanged } from "../sync/changed.ts";
import { requireAccountRoom } from "./account-limits.ts";
import { askDaemon } from "./ask.ts";
import { type CatalogEntry, requireDeclaration } from "./catalog.ts";
import { credentialRef, dropCredential } from "./credential.ts";

/** Contract section 9. */
const SESSION_LIFE_MS = 15 * 60_000;
const LINK_TIMEOUT_MS = 90_000;

export interface NewSession {
  readonly workspaceId: string;
  readonly userId: string;
  readonly service: string;
  /** Shard that will serve the account. Default `primary`. */
  readonly instance?: string;
  readonly actor: string;
}

/**
 * @throws FabricError `request.not_found` for what is no service, `platform.unavailable` while its daemon has
 *   announced nothing, `request.rate_limited` or `request.invalid` when the workspace has too many accounts
 */
export async function openSession(core: Core, wanted: NewSession): Promise<AuthSession> {
  const instance = wanted.instance ?? "primary";
  const entry = await requireDeclaration(core.database.pool, { service: wanted.service, instance });
  const fields = entry.fields.filter(({ advanced }) => advanced !== true).map(shown);
  return core.database.transaction(async (client) => {
    await requireAccountRoom(client, wanted.workspaceId, core.accountLimits);
    const identity = await insertIdentity(client, {
      id: randomUUID(),
      workspace_id: wanted.workspaceId,
      user_id: wanted.userId,
      service: wanted.service,
      instance,
      settings: {},
    });
    if (identity === undefined) throw new Error("an insert with RETURNING gave no row");
    const session = await insertAuthSession(client, {
      id: randomUUID(),
      workspace_id: wanted.workspaceId,
      user_id: wanted.userId,
      service: wanted.service,
      identity_id: identity.id,
      step: {},
      expires_at: new Date(core.now().getTime() + SESSION_LIFE_MS),
    });
    await note(client, session, wanted.actor, "session.opened");
    await moveAuthSession(client, session.id, "awaiting_user", { fields });
    return { ...session, state: "awaiting_user", step: { fields } };
  });
}

export interface Credentials {
  readonly workspaceId: string;
  readonly sessionId: string;
  /** What the person entered. */
  readonly fields: Readonly<Record<string, unknown>>;
  readonly actor: string;
}

/**
 * Takes what the person entered and starts linking; poll the session for the outcome.
 *
 * @throws FabricError `request.not_found`, `request.invalid` naming the field, `platform.unavailable`, `vault.*`
 */
export async function submitCredentials(core: Core, given: Credentials): Promise<AuthSession> {
  const waiting = openFor(
    core,
    await authSessionById(core.database.pool, given.sessionId),
    given.workspaceId,
  );
  const declaration = await declarationFor(core, waiting);
  requireSameSecrets(declaration, waiting);
  const taken = takeLinkFields(declaration, given.fields);
  const secrets = bytesOf(taken.secrets);
  // First the vault: if it cannot take them, the session still waits and the person can try again.
  if (Object.keys(secrets).length > 0) await core.vault.handOver(credentialRef(waiting), secrets);
  for (const value of Object.values(secrets)) value.fill(0);
  const session = await core.database.transaction(async (client) => {
    const open = openFor(core, await lockAuthSession(client, given.sessionId), given.workspaceId);
    const identity = await identityById(client, open.identity_id);
    await updateIdentity(client, open.identity_id, { settings: merged(identity?.settings, taken.settings) });
    await moveAuthSession(client, open.id, "completing", {});
    await note(client, open, given.actor, "session.credentials_given");
    return { ...open, state: "completing" as const, step: {} };
  });
  void completeLink(core, session);
  return session;
}

/** @throws FabricError `request.not_found` */
export async function readSession(core: Core, workspaceId: string, id: string): Promise<AuthSession> {
  const session = await authSessionById(core.database.pool, id);
  if (session?.workspace_id !== workspaceId) throw new FabricError("request.not_found", "no such session");
  return session;
}

/** Ends a session that is still open. @throws FabricError `request.not_found` */
export async function cancelSession(
  core: Core,
  workspaceId: string,
  id: string,
  actor: string,
): Promise<void> {
  const ended = await core.database.transaction(async (client) => {
    const session = openFor(core, await lockAuthSession(client, id), workspaceId);
    await moveAuthSession(client, id, "cancelled", {});
    await updateIdentity(client, session.identity_id, NOTHING_LEFT);
    await note(client, session, actor, "session.cancelled");
    return session;
  });
  await dropCredential(core, ended);
}

async function completeLink(core: Core, session: AuthSession): Promise<void> {
  let asked: Identity | undefined;
  try {
    const identity = await identityById(core.database.pool, session.identity_id);
    asked = identity;
    if (identity === undefined) throw new FabricError("request.not_found", "the identity is gone");
    const lease = await currentLease(core.database.pool, identity.service, identity.instance);
    if (lease?.live !== true) {
      throw new FabricError(
        "platform.unavailable",
        `no ${identity.service} daemon is running; start one and try again`,
      );
    }
    const reply = await askDaemon(core, identity, lease, {
      action: "link_account",
      payload: { session_id: session.id, identity_id: identity.id, settings: identity.settings },
      timeoutMs: LINK_TIMEOUT_MS,
    });
    await settleLink(core, session, identity, reply as LinkReply);
  } catch (error) {
    const code = isFabricError(error) ? error.code : "internal";
    core.log.warn(
      { event: "link.failed", identity_id: session.identity_id, code, err: error },
      "linking failed",
    );
    const message = isFabricError(error) ? error.message : "an unexpected fault; try again";
    await failLink(core, session, code, message).catch((failure: unknown) => {
      core.log.warn(
        { event: "link.unsettled", session_id: session.id, err: failure },
        "the session will expire",
      );
    });
    // What the daemon took for linked it is to leave; what was linked by a commit without an answer, to open.
    const { service } = session;
    tellChanged(core, { what: "assignments", service, instance: asked?.instance ?? PRIMARY });
  }
}

async function settleLink(
  core: Core,
  session: AuthSession,
  identity: Identity,
  reply: LinkReply,
): Promise<void> {
  switch (reply.status) {
    case "linked": {
      const remote = "remote" in reply ? reply.remote : identity.id;
      const name = "name" in reply ? reply.name : identity.id;
      const learned = await learnedFrom(core, session, reply);
      await core.vault.keepHandOver(credentialRef(session));
      if (Object.keys(learned.secrets).length > 0)
        await core.vault.put(credentialRef(session), learned.secrets);
      await core.database.transaction(async (client) => {
        const open = await lockAuthSession(client, session.id);
        if (open?.state !== "completing") {
          throw new FabricError("request.invalid", `the session is ${open?.state ?? "gone"}; open a new one`);
        }
        await updateIdentity(client, identity.id, {
          state: "linked",
          remote,
          name,
          settings: merged(identity.settings, learned.settings),
        });
        await moveAuthSession(client, session.id, "linked", { identity_id: identity.id });
        await note(client, session, daemonName(identity), "identity.linked", { remote });
      });
      tellChanged(core, { what: "assignments", service: identity.service, instance: identity.instance });
      return;
    }
    case "awaiting": {
      const fields = askedFor(await declarationFor(core, session), reply.fields);
      await core.database.transaction(async (client) => {
        await moveAuthSession(client, session.id, "awaiting_user", {
          step: reply.step,
          message: reply.message,
          fields,
        });
        await note(client, session, daemonName(identity), "session.awaiting_user", { step: reply.step });
      });
      return;
    }
    case "code_required":
    case "password_required":
      await core.database.transaction(async (client) => {
        await moveAuthSession(client, session.id, "awaiting_user", { step: reply.status });
        await note(client, session, daemonName(identity), "session.awaiting_user", { step: reply.status });
      });
      return;
    case "failed":
      await failLink(core, session, reply.code, reply.message);
      return;
    case "code_invalid":
    case "auth_failed":
      await failLink(core, session, "platform.auth_expired", reply.reason);
      return;
  }
}

async function failLink(core: Core, session: AuthSession, code: string, message: string): Promise<void> {
  const state = await core.database.transaction(async (client) => {
    const known = await lockAuthSession(client, session.id);
    if (known?.state !== "completing") return known?.state;
    await moveAuthSession(client, session.id, "failed", { code, message });
    await updateIdentity(client, session.identity_id, NOTHING_LEFT);
    await note(client, session, "core", "session.failed", { code });
    return "failed" as const;
  });
  // What failed may have been the answer to a commit that was made: then the session goes on, or is linked.
  if (state !== "linked" && state !== "awaiting_user") await dropCredential(core, session);
}

function openFor(core: Core, session: AuthSession | undefined, workspaceId: string): AuthSession {
  if (session?.workspace_id !== workspaceId) throw new FabricError("request.not_found", "no such session");
  if (session.state !== "awaiting_user" || session.expires_at <= core.now()) {
    throw new FabricError("request.invalid", `the session is ${session.state}; open a new one`);
  }
  return session;
}

/** What a link that did not succeed leaves of its identity. */
const NOTHING_LEFT = { state: "unlinked", settings: {}, remote: null, name: null } as const;

async function declarationFor(core: Core, session: AuthSession): Promise<CatalogEntry> {
  const identity = await identityById(core.database.pool, session.identity_id);
  const { service } = session;
  return requireDeclaration(core.database.pool, { service, instance: identity?.instance ?? "primary" });
}

/** What the daemon learned while it linked; it is held against its own declaration, too. */
async function learnedFrom(core: Core, session: AuthSession, reply: LinkReply) {
  const given = "settings" in reply ? reply.settings : undefined;
  const taken: LinkFields | undefined =
    given === undefined ? undefined : takeLinkFields(await declarationFor(core, session), given);
  const secrets = bytesOf(taken?.secrets ?? new Map());
  if ("session" in reply && reply.session !== undefined) {
    secrets.session = new TextEncoder().encode(JSON.stringify(reply.session));
  }
  return { settings: taken?.settings ?? {}, secrets };
}

/** The fields of a step, as declared. @throws FabricError `request.invalid` when one was not */
function askedFor(declaration: CatalogEntry, names: readonly string[]) {
  return names.map((name) => {
    const field = fieldOf(declaration, name);
    if (field !== undefined) return { ...shown(field), name, required: true };
    const detail = `the ${declaration.service} daemon asks for a field that it did not declare; report it`;
    throw new FabricError("request.invalid", detail);
  });
}

/**
 * What a person was asked for as a secret is kept as one, whatever was announced since.
 *
 * @throws FabricError `request.invalid` when it would be a setting by now
 */
function requireSameSecrets(declaration: CatalogEntry, { step }: AuthSession): void {
  const asked = Array.isArray(step.fields) ? (step.fields as readonly Shown[]) : [];
  const changed = asked.some(({ name, secret }) => secret && fieldOf(declaration, name)?.secret === false);
  if (!changed) return;
  const detail = `the ${declaration.service} daemon has changed what is secret meanwhile; open a new session`;
  throw new FabricError("request.invalid", detail);
}

type Shown = Pick<LinkField, "name" | "secret">;

/** A field as a form needs it. */
function shown({ name, label, required, secret, example }: LinkField) {
  return { name, label, required, secret, ...(example !== undefined && { example }) };
}

function bytesOf(secrets: ReadonlyMap<string, string>): Record<string, Uint8Array> {
  const encoder = new TextEncoder();
  return Object.fromEntries([...secrets].map(([name, value]) => [name, encoder.encode(value)]));
}

/** @throws FabricError `request.invalid` when they are too large together */
function merged(known: Record<string, unknown> | undefined, more: Record<string, unknown>) {
  const settings = { ...known, ...more };
  if (Buffer.byteLength(JSON.stringify(settings)) <= MAX_SETTINGS_BYTES) return settings;
  throw new FabricError(
    "request.invalid",
    `the settings are larger than ${MAX_SETTINGS_BYTES} bytes together`,
  );
}

function daemonName(identity: Identity): string {
  return `daemon:${identity.service}:${identity.instance}`;
}

function note(
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

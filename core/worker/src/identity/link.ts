/**
 * Linking an account (contract section 9):
 *
 *   initiated → awaiting_user → completing → linked | failed | expired | cancelled
 *
 * A session makes a pending identity. What the person enters is split: settings go to the identity,
 * secrets are handed over to the vault and become the credential once they were found good. The daemon that holds the instance is asked to link with a session ticket; it fetches the
 * secrets itself, tries them, and says `linked`, `failed` or what it needs next.
 */
import { randomUUID } from "node:crypto";
import { FabricError, isFabricError, type LinkReply } from "@linkspan/envelopes";
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
import { CREDENTIAL } from "@linkspan/vault";
import type { Core } from "../core.ts";
import { tellChanged } from "../sync/changed.ts";
import { askDaemon } from "./ask.ts";
import { catalogEntry, isSecretField } from "./catalog.ts";

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

/** @throws FabricError `request.not_found` for a service that cannot be linked */
export async function openSession(core: Core, wanted: NewSession): Promise<AuthSession> {
  const entry = catalogEntry(wanted.service);
  if (entry === undefined)
    throw new FabricError("request.not_found", `no connector is called ${wanted.service}`);
  return core.database.transaction(async (client) => {
    const identity = await insertIdentity(client, {
      id: randomUUID(),
      workspace_id: wanted.workspaceId,
      user_id: wanted.userId,
      service: wanted.service,
      instance: wanted.instance ?? "primary",
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
    await moveAuthSession(client, session.id, "awaiting_user", { fields: entry.fields });
    return { ...session, state: "awaiting_user", step: { fields: entry.fields } };
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
 * @throws FabricError `request.not_found`, `request.invalid`, `vault.*`
 */
export async function submitCredentials(core: Core, given: Credentials): Promise<AuthSession> {
  const { secrets, settings } = split(given.fields);
  const waiting = openFor(
    core,
    await authSessionById(core.database.pool, given.sessionId),
    given.workspaceId,
  );
  // First the vault: if it cannot take them, the session still waits and the person can try again.
  if (Object.keys(secrets).length > 0) await core.vault.handOver(credentialRef(waiting), secrets);
  for (const value of Object.values(secrets)) value.fill(0);
  const session = await core.database.transaction(async (client) => {
    const open = openFor(core, await lockAuthSession(client, given.sessionId), given.workspaceId);
    const identity = await identityById(client, open.identity_id);
    await updateIdentity(client, open.identity_id, { settings: { ...identity?.settings, ...settings } });
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
  await core.database.transaction(async (client) => {
    const session = openFor(core, await lockAuthSession(client, id), workspaceId);
    await moveAuthSession(client, id, "cancelled", {});
    await updateIdentity(client, session.identity_id, { state: "unlinked" });
    await note(client, session, actor, "session.cancelled");
  });
}

/** Where an identity's credential lies in the vault. */
export function credentialRef(of: { workspace_id: string; identity_id: string; service: string }) {
  return {
    workspaceId: of.workspace_id,
    identityId: of.identity_id,
    service: of.service,
    kind: CREDENTIAL,
  };
}

async function completeLink(core: Core, session: AuthSession): Promise<void> {
  try {
    const identity = await identityById(core.database.pool, session.identity_id);
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
      await core.vault.keepHandOver(credentialRef(session));
      const learned = split({
        ...("settings" in reply ? reply.settings : {}),
        ...("session" in reply && reply.session !== undefined && { session: JSON.stringify(reply.session) }),
      });
      if (Object.keys(learned.secrets).length > 0)
        await core.vault.put(credentialRef(session), learned.secrets);
      await core.database.transaction(async (client) => {
        await updateIdentity(client, identity.id, {
          state: "linked",
          remote,
          name,
          settings: { ...identity.settings, ...learned.settings },
        });
        await moveAuthSession(client, session.id, "linked", { identity_id: identity.id });
        await note(client, session, daemonName(identity), "identity.linked", { remote });
      });
      tellChanged(core, { what: "assignments", service: identity.service, instance: identity.instance });
      return;
    }
    case "awaiting":
      await core.database.transaction(async (client) => {
        await moveAuthSession(client, session.id, "awaiting_user", {
          step: reply.step,
          message: reply.message,
          fields: reply.fields.map((name) => ({
            name,
            label: name,
            required: true,
            secret: isSecretField(name),
          })),
        });
        await note(client, session, daemonName(identity), "session.awaiting_user", { step: reply.step });
      });
      return;
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
  await core.database.transaction(async (client) => {
    const known = await lockAuthSession(client, session.id);
    if (known?.state !== "completing") return;
    await moveAuthSession(client, session.id, "failed", { code, message });
    await updateIdentity(client, session.identity_id, { state: "unlinked" });
    await note(client, session, "core", "session.failed", { code });
  });
  await core.vault.drop(credentialRef(session));
}

function openFor(core: Core, session: AuthSession | undefined, workspaceId: string): AuthSession {
  if (session?.workspace_id !== workspaceId) throw new FabricError("request.not_found", "no such session");
  if (session.state !== "awaiting_user" || session.expires_at <= core.now()) {
    throw new FabricError("request.invalid", `the session is ${session.state}; open a new one`);
  }
  return session;
}

function split(fields: Readonly<Record<string, unknown>>) {
  const secrets: Record<string, Uint8Array> = {};
  const settings: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(fields)) {
    if (!isSecretField(name)) settings[name] = value;
    else if (typeof value === "string" && value !== "") secrets[name] = new TextEncoder().encode(value);
    else if (value !== "") throw new FabricError("request.invalid", `${name} is not a string`);
  }
  return { secrets, settings };
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

/**
 * Linking an account (contract section 9):
 *
 *   initiated → awaiting_user → completing → linked | failed | expired | cancelled
 *
 * A session creates a pending identity. The fields that the person enters are checked against the connector's
 * declaration before anything is stored: settings are stored in the identity; secrets are handed over to the
 * vault and become the credential once the daemon has confirmed them; an undeclared field is refused. The
 * core asks the daemon that holds the instance to link, and sends a session ticket. The daemon fetches the
 * secrets itself, tries them, and answers `linked`, `failed` or which fields it needs next. After a link that
 * failed or was cancelled, neither settings nor secrets are kept.
 */
import { randomUUID } from "node:crypto";
import {
  FabricError,
  fieldOf,
  isFabricError,
  type LinkField,
  type LinkReply,
  PRIMARY,
  takeLinkFields,
} from "@linkspan/envelopes";
import {
  type AuthSession,
  authSessionById,
  currentLease,
  type Identity,
  identityById,
  insertAuthSession,
  insertIdentity,
  lockAuthSession,
  moveAuthSession,
  updateIdentity,
} from "@linkspan/store";
import type { Core } from "../core.ts";
import { tellChanged } from "../sync/changed.ts";
import { requireAccountRoom } from "./account-limits.ts";
import { askDaemon } from "./ask.ts";
import { type CatalogEntry, requireDeclaration } from "./catalog.ts";
import { credentialRef, dropCredential } from "./credential.ts";
import { failLink, settleLink } from "./link-outcome.ts";
import { bytesOf, declarationFor, merged, note, NOTHING_LEFT, shown } from "./link-session.ts";

/** Contract section 9. */
const SESSION_LIFE_MS = 15 * 60_000;
const LINK_TIMEOUT_MS = 90_000;

export interface NewSession {
  readonly workspaceId: string;
  readonly userId: string;
  readonly service: string;
  /** Instance that will serve the account. Default `primary`. */
  readonly instance?: string;
  /** What the backend's client states about itself; passed to connectors that ask for it. */
  readonly clientContext?: Readonly<Record<string, unknown>>;
  readonly actor: string;
}

/**
 * @throws FabricError `request.not_found` for an unknown service, `platform.unavailable` while its daemon has
 *   announced nothing, `request.rate_limited` or `request.invalid` when the workspace has too many accounts
 */
export async function openSession(core: Core, wanted: NewSession): Promise<AuthSession> {
  const instance = wanted.instance ?? PRIMARY;
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
      client_context: wanted.clientContext ?? {},
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
  /** The values that the person entered. */
  readonly fields: Readonly<Record<string, unknown>>;
  readonly actor: string;
}

/**
 * Takes the entered values and starts linking; poll the session for the outcome.
 *
 * @throws FabricError `request.not_found`, `request.invalid` naming the field, `platform.unavailable`,
 *   `vault.*`
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
  // Secrets go to the vault first: if the vault refuses them, the session still waits and the person can try
  // again.
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
  void completeLink(core, session, declaration, stepOf(waiting));
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

/** The step that the entered values answer; undefined for the first one. */
function stepOf({ step }: AuthSession): string | undefined {
  return typeof step.step === "string" ? step.step : undefined;
}

/** API path to which a sign-in page redirects the person. */
export function callbackPath({ service, id }: Pick<AuthSession, "service" | "id">): string {
  return `/api/bridges/${service}/sessions/${id}/callback`;
}

async function completeLink(
  core: Core,
  session: AuthSession,
  { wants_context: wantsContext }: CatalogEntry,
  step: string | undefined,
): Promise<void> {
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
      payload: {
        session_id: session.id,
        identity_id: identity.id,
        settings: identity.settings,
        ...(step !== undefined && { step }),
        ...(wantsContext === true && {
          client_context: session.client_context,
          callback: callbackPath(session),
        }),
      },
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
        "the failure could not be stored; the session will expire",
      );
    });
    // The daemon must close an account that only it considers linked, and open one whose commit succeeded
    // without an answer.
    const { service } = session;
    tellChanged(core, { what: "assignments", service, instance: asked?.instance ?? PRIMARY });
  }
}

function openFor(core: Core, session: AuthSession | undefined, workspaceId: string): AuthSession {
  if (session?.workspace_id !== workspaceId) throw new FabricError("request.not_found", "no such session");
  if (session.state !== "awaiting_user" || session.expires_at <= core.now()) {
    throw new FabricError("request.invalid", `the session is ${session.state}; open a new one`);
  }
  return session;
}

/**
 * A value that was asked for as a secret stays a secret, even if the connector has announced otherwise since.
 *
 * @throws FabricError `request.invalid` when the field is now declared as a setting
 */
function requireSameSecrets(declaration: CatalogEntry, { step }: AuthSession): void {
  const asked = Array.isArray(step.fields) ? (step.fields as readonly Shown[]) : [];
  const changed = asked.some(({ name, secret }) => secret && fieldOf(declaration, name)?.secret === false);
  if (!changed) return;
  const detail = `the ${declaration.service} daemon has changed what is secret meanwhile; open a new session`;
  throw new FabricError("request.invalid", detail);
}

type Shown = Pick<LinkField, "name" | "secret">;

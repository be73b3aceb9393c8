/**
 * How a link session changes when its daemon has answered. Msgr's answers were mapped to the canonical form
 * before (envelopes/src/msgr/link-reply.ts). The account's name and settings go to the identity, its people
 * and chats to the contacts, its session to the vault, and values that the next request needs go to the
 * settings until then.
 */
import {
  FabricError,
  fieldOf,
  type LinkFields,
  type LinkOutcome,
  type LinkReply,
  LIMITS,
  takeLinkFields,
  toLinkOutcome,
} from "@linkspan/envelopes";
import {
  type AuthSession,
  type Identity,
  lockAuthSession,
  moveAuthSession,
  type Queryable,
  updateIdentity,
  upsertContacts,
} from "@linkspan/store";
import type { Core } from "../core.ts";
import { tellChanged } from "../sync/changed.ts";
import type { CatalogEntry } from "./catalog.ts";
import { credentialRef, dropCredential } from "./credential.ts";
import { bytesOf, daemonName, declarationFor, merged, note, NOTHING_LEFT, shown } from "./link-session.ts";

export async function settleLink(
  core: Core,
  session: AuthSession,
  identity: Identity,
  answer: LinkReply,
): Promise<void> {
  const declaration = await declarationFor(core, session);
  const { service, workspace_id: workspaceId } = session;
  const outcome = toLinkOutcome(answer, { service, workspaceId, account: identity.id, declaration });
  const { reply } = outcome;
  switch (reply.status) {
    case "linked":
      await settleLinked(core, session, identity, declaration, { ...outcome, reply });
      return;
    case "awaiting": {
      const fields = askedFor(declaration, reply.fields);
      const { step, message } = reply;
      await core.database.transaction(async (client) => {
        await updateIdentity(client, identity.id, { settings: merged(identity.settings, outcome.carried) });
        await moveAuthSession(client, session.id, "awaiting_user", {
          step,
          message,
          fields,
          ...outcome.carried,
        });
        await note(client, session, daemonName(identity), "session.awaiting_user", { step });
      });
      return;
    }
    case "failed":
      await failLink(core, session, reply.code, reply.message);
      return;
  }
}

type Linked = LinkOutcome & { readonly reply: { readonly status: "linked" } };

async function settleLinked(
  core: Core,
  session: AuthSession,
  identity: Identity,
  declaration: CatalogEntry,
  outcome: Linked,
): Promise<void> {
  const { remote, name, capabilities } = outcome.reply;
  const learned = learnedFrom(declaration, outcome);
  await core.vault.keepHandOver(credentialRef(session));
  if (Object.keys(learned.secrets).length > 0) await core.vault.put(credentialRef(session), learned.secrets);
  await core.database.transaction(async (client) => {
    const open = await lockAuthSession(client, session.id);
    if (open?.state !== "completing") {
      throw new FabricError("request.invalid", `the session is ${open?.state ?? "gone"}; open a new one`);
    }
    await updateIdentity(client, identity.id, {
      state: "linked",
      remote,
      name,
      settings: merged(withoutCarried(declaration, identity.settings), learned.settings),
      ...(capabilities !== undefined && { capabilities }),
    });
    await keepRoster(client, session, outcome.roster);
    await moveAuthSession(client, session.id, "linked", { identity_id: identity.id });
    await note(client, session, daemonName(identity), "identity.linked", { remote });
  });
  tellChanged(core, { what: "assignments", service: identity.service, instance: identity.instance });
}

async function keepRoster(on: Queryable, session: AuthSession, roster: LinkOutcome["roster"]): Promise<void> {
  for (let from = 0; from < roster.length; from += LIMITS.rosterEntries) {
    const page = roster.slice(from, from + LIMITS.rosterEntries);
    await upsertContacts(on, session.workspace_id, session.identity_id, page);
  }
}

/** Removes the values that were only carried from one request to the next, because the account is linked. */
function withoutCarried(
  declaration: CatalogEntry,
  settings: Readonly<Record<string, unknown>>,
): Record<string, unknown> {
  const { phone_code_hash: hash, ...kept } = settings;
  const isDeclared = hash !== undefined && fieldOf(declaration, "phone_code_hash") !== undefined;
  return isDeclared ? { ...settings } : kept;
}

export async function failLink(
  core: Core,
  session: AuthSession,
  code: string,
  message: string,
): Promise<void> {
  const state = await core.database.transaction(async (client) => {
    const known = await lockAuthSession(client, session.id);
    if (known?.state !== "completing") return known?.state;
    await moveAuthSession(client, session.id, "failed", { code, message });
    await updateIdentity(client, session.identity_id, NOTHING_LEFT);
    await note(client, session, "core", "session.failed", { code });
    return "failed" as const;
  });
  // Perhaps only the answer to a successful commit was lost: then the session is waiting again or linked, and
  // the credential is kept.
  if (state !== "linked" && state !== "awaiting_user") await dropCredential(core, session);
}

/**
 * The settings and secrets that the daemon obtained while it linked; settings are checked against its
 * declaration, too.
 */
function learnedFrom(declaration: CatalogEntry, { reply, session }: Linked) {
  const taken: LinkFields | undefined =
    reply.settings === undefined ? undefined : takeLinkFields(declaration, reply.settings);
  const secrets = bytesOf(taken?.secrets ?? new Map());
  if (session !== undefined) secrets.session = new TextEncoder().encode(JSON.stringify(session));
  return { settings: taken?.settings ?? {}, secrets };
}

/** The fields of a step, as declared. @throws FabricError `request.invalid` when a field was not declared */
function askedFor(declaration: CatalogEntry, names: readonly string[]) {
  return names.map((name) => {
    const field = fieldOf(declaration, name);
    if (field !== undefined) return { ...shown(field), name, required: true };
    const detail = `the ${declaration.service} daemon asks for a field that it did not declare; report it`;
    throw new FabricError("request.invalid", detail);
  });
}

/**
 * A daemon's answer to a link request, in Msgr's form or ours, as one form: the canonical answer, and beside it
 * what has a place of its own: the session (a secret), the people and chats of the account (its roster), and what the
 * next request carries on.
 */
import { FabricError } from "../errors/errors.ts";
import { fieldOf } from "../payloads/link-fields.ts";
import { LIMITS } from "../payloads/limits.ts";
import { type Members, optional, textOf } from "../payloads/members.ts";
import type { LinkDeclaration } from "../payloads/declaration.ts";
import type { LinkReply } from "../payloads/link.ts";
import type { RosterSnapshot } from "../payloads/sync.ts";
import { channelRef, identityRef } from "../names/refs.ts";

type Canonical<S extends string> = Extract<LinkReply, { readonly status: S }>;
export type CanonicalLinked = Exclude<Canonical<"linked">, { readonly user: unknown }>;
type Reply = CanonicalLinked | Canonical<"awaiting"> | Canonical<"failed">;

export interface LinkOutcome {
  readonly reply: Reply;
  /** The result of the platform's login; for the vault. */
  readonly session?: Members;
  readonly roster: RosterSnapshot["entries"];
  /** Settings of the identity while it is being linked, not declared by anybody. */
  readonly carried: Members;
}

export interface LinkContext {
  readonly service: string;
  readonly workspaceId: string;
  /** The identity that is being linked. */
  readonly account: string;
  readonly declaration: LinkDeclaration;
}

/** Names that the fields of Msgr's two steps have, in the order in which they are looked for. */
const ASKED = {
  code_required: ["code", "session.code"],
  password_required: ["two_factor.password", "password"],
} as const;

const MESSAGES = {
  code_required: "Enter the code that the platform has sent.",
  password_required: "Enter the password of the account.",
} as const;

/** @throws FabricError `request.invalid` when it asks for a field that its connector did not declare */
export function toLinkOutcome(reply: LinkReply, context: LinkContext): LinkOutcome {
  switch (reply.status) {
    case "linked":
      return "user" in reply ? fromMsgr(reply, context) : { reply, roster: [], carried: {} };
    case "code_required":
    case "password_required":
      return {
        reply: {
          status: "awaiting",
          step: reply.status,
          fields: reply.fields ?? [declaredOf(ASKED[reply.status], context.declaration, reply.status)],
          message: reply.message ?? MESSAGES[reply.status],
        },
        roster: [],
        carried: optional("phone_code_hash", reply.phone_code_hash),
      };
    case "code_invalid":
    case "auth_failed":
      return {
        reply: { status: "failed", code: "platform.auth_expired", message: reply.reason },
        roster: [],
        carried: {},
      };
    case "awaiting":
    case "failed":
      return { reply, roster: [], carried: {} };
  }
}

function declaredOf(names: readonly string[], declaration: LinkDeclaration, step: string): string {
  const name = names.find((candidate) => fieldOf(declaration, candidate) !== undefined);
  if (name !== undefined) return name;
  throw new FabricError(
    "request.invalid",
    `${declaration.name} answered ${step} and declared no field ${names.join(" or ")}; report it`,
  );
}

type MsgrLinked = Extract<LinkReply, { readonly user: unknown }>;

function fromMsgr(reply: MsgrLinked, context: LinkContext): LinkOutcome {
  const { user, session, capabilities, contacts, chats, homeserver } = reply;
  const remote = remoteOf(context.service, user) ?? context.account;
  const declared = homeserver !== undefined && fieldOf(context.declaration, "homeserver")?.secret === false;
  return {
    reply: {
      status: "linked",
      remote,
      name: shortened(nameOf(user) ?? remote, LIMITS.nameBytes),
      ...(declared && { settings: { homeserver } }),
      ...optional("capabilities", capabilities),
    },
    ...optional("session", session),
    roster: [
      ...(contacts ?? []).flatMap((contact) => entryOf("contact", contact, context)),
      ...(chats ?? []).flatMap((chat) => entryOf("channel", chat, context)),
    ],
    carried: {},
  };
}

/** Telegram's ids are the same numbers for people and chats; with their type they are one thing each. */
function remoteOf(service: string, user: Members): string | undefined {
  const id = [user.external_id, user.id, user.user_id, user.jid, user.uuid, user.phone_number].map(textOf);
  const first = id.find((one) => one !== undefined && Buffer.byteLength(one) <= LIMITS.remoteIdBytes);
  if (first === undefined || service !== "telegram") return first;
  return qualified(first, "user");
}

function entryOf(
  kind: "contact" | "channel",
  given: Members,
  context: LinkContext,
): RosterSnapshot["entries"][number][] {
  const { service, workspaceId } = context;
  const id = kind === "contact" ? remoteOf(service, given) : chatOf(service, given);
  if (id === undefined) return [];
  const ref =
    kind === "contact" ? identityRef(service, [id]) : channelRef(workspaceId, service, placeOf(id, context));
  // A reference that no index could hold is left out; it comes with the first event of that conversation.
  if (Buffer.byteLength(ref) > LIMITS.refBytes) return [];
  return [{ ref, kind, name: shortened(nameOf(given) ?? id, LIMITS.nameBytes) }];
}

const CHAT_TYPES: Readonly<Record<string, string>> = {
  channel: "channel",
  supergroup: "channel",
  megagroup: "channel",
  group: "chat",
  chat: "chat",
  user: "user",
  private: "user",
};

function chatOf(service: string, chat: Members): string | undefined {
  const ids = [chat.external_id, chat.id, chat.chat_id, chat.room_id, chat.peer_id, chat.jid].map(textOf);
  const id = ids.find((one) => one !== undefined && Buffer.byteLength(one) <= LIMITS.remoteIdBytes);
  if (id === undefined || service !== "telegram") return id;
  return qualified(id, CHAT_TYPES[textOf(chat.kind ?? chat.type) ?? ""] ?? "peer");
}

function qualified(id: string, type: string): string {
  return /^(?:user|chat|channel|peer):/.test(id) ? id : `${type}:${id}`;
}

/** As its events name it: a chat with one person is its account's own. */
function placeOf(id: string, { service, account }: LinkContext): string[] {
  const isShared = service !== "telegram" || /^(?:chat|channel):/.test(id);
  return isShared ? [id] : [`~${account}`, id];
}

function nameOf(person: Members): string | undefined {
  const names = [textOf(person.first_name), textOf(person.last_name)].filter((name) => name !== undefined);
  return (
    textOf(person.display_name) ??
    textOf(person.name) ??
    textOf(person.title) ??
    (names.length > 0 ? names.join(" ") : textOf(person.username))
  );
}

function shortened(text: string, maxBytes: number): string {
  return Buffer.byteLength(text) <= maxBytes ? text : text.slice(0, Math.floor(maxBytes / 4)).toWellFormed();
}

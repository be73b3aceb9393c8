/**
 * The contents of answers. A view names each member it shows: a column added to a row is not shown until it
 * is added here. No view has a ticket, a credential or a signing key.
 */
import { ENVELOPE_TYPE } from "@linkspan/envelopes";
import type { contactsOf, Identity, Intent, quarantined, StoredEvent, stepsOf } from "@linkspan/store";
import type { CatalogEntry } from "@linkspan/worker";
import { z } from "zod";
import { Open, Written } from "./schemas.ts";

type Row<F extends (...args: never[]) => Promise<unknown>> =
  NonNullable<Awaited<ReturnType<F>>> extends (infer R)[] ? R : NonNullable<Awaited<ReturnType<F>>>;

/** Optional members are absent rather than null. */
type Present<T> = { [K in keyof T as null extends T[K] ? K : never]?: NonNullable<T[K]> };

export function present<T extends Record<string, unknown>>(members: T): Present<T> {
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value != null)) as Present<T>;
}

export const IntentView = z
  .object({
    id: z.string(),
    state: z.string(),
    code: z.string().optional(),
    detail: z.string().optional(),
    attempt: z.int(),
    part: z.int().meta({ description: "first part never confirmed" }),
    parts: z.int().optional(),
    remote_ids: z.array(z.string()).meta({ description: "the platform's ids, by part" }),
    identity_id: z.string(),
    user_id: z.string(),
    service: z.string(),
    action: z.string(),
    conversation: z.string().optional(),
    trace_id: z.string(),
    created_at: Written,
    updated_at: Written,
    expires_at: Written.optional(),
  })
  .meta({ id: "Intent" });

export const StepView = z
  .object({
    at: Written,
    state: z.string(),
    attempt: z.int(),
    part: z.int().optional(),
    code: z.string().optional(),
    detail: z.string().optional(),
  })
  .meta({ id: "IntentStep" });

export const IntentDetailView = z
  .object({ ...IntentView.shape, payload: Open, steps: z.array(StepView) })
  .meta({ id: "IntentDetail" });

export function intentView(intent: Intent): z.output<typeof IntentView> {
  const { code, detail, parts, conversation, expires_at } = intent;
  return {
    id: intent.id,
    state: intent.state,
    attempt: intent.attempt,
    part: intent.part,
    remote_ids: intent.remote_ids,
    identity_id: intent.identity_id,
    user_id: intent.user_id,
    service: intent.service,
    action: intent.action,
    trace_id: intent.trace_id,
    created_at: intent.created_at.toISOString(),
    updated_at: intent.updated_at.toISOString(),
    ...present({ code, detail, parts, conversation, expires_at: expires_at?.toISOString() ?? null }),
  };
}

export function stepView(step: Row<typeof stepsOf>): z.output<typeof StepView> {
  const { code, detail, part } = step;
  return {
    at: step.at.toISOString(),
    state: step.state,
    attempt: step.attempt,
    ...present({ code, detail, part }),
  };
}

export const EventView = z
  .object({
    position: z.int().meta({ description: "grows with each event; the cursor" }),
    message_id: z.string(),
    service: z.string(),
    account: z.string().meta({ description: "the identity that saw it" }),
    conversation: z.string().optional(),
    sender_identity: z.string().optional().meta({
      description:
        "the linked identity whose words these are: the account itself, or another of the workspace; absent for other people's",
    }),
    received_at: Written,
    kid: z.string().optional().meta({ description: "signing key; absent on unsigned events" }),
    sig: z
      .string()
      .optional()
      .meta({ description: `signature over the canonical form of envelope as ${ENVELOPE_TYPE}` }),
    batch: z.string().optional().meta({
      description: "of a member of a history: message_id of the batch, whose signature proves it",
    }),
    envelope: Open.meta({
      description:
        "the envelope as it was received; of a member of a history, as it was taken out of its batch",
    }),
  })
  .meta({ id: "Event" });

/** One line of JSON that holds the stored bytes unchanged: signed bytes are never serialised again. */
export function eventJson(event: StoredEvent): string {
  const { conversation, senderIdentity: sender_identity, kid, sig, batchId: batch } = event;
  const head = JSON.stringify({
    position: event.position,
    message_id: event.messageId,
    service: event.service,
    account: event.account,
    ...(conversation !== undefined && { conversation }),
    received_at: event.receivedAt.toISOString(),
    ...(sender_identity !== undefined && { sender_identity }),
    ...(kid !== undefined && { kid }),
    ...(sig !== undefined && { sig }),
    ...(batch !== undefined && { batch }),
  });
  return `${head.slice(0, -1)},"envelope":${envelopeJson(event)}}`;
}

/** Signed bytes are canonical, so they are a single line; bytes of a foreign daemon may not be. */
function envelopeJson({ kid, body }: StoredEvent): string {
  const text = body.toString("utf8");
  return kid === undefined ? JSON.stringify(JSON.parse(text)) : text;
}

export const IdentityView = z
  .object({
    id: z.string(),
    workspace_id: z.string(),
    user_id: z.string(),
    service: z.string(),
    instance: z.string().meta({ description: "shard that serves it" }),
    home: z.string().meta({ description: "shard it was first linked at" }),
    remote: z.string().optional().meta({ description: "the platform's own id of the account" }),
    name: z.string().optional(),
    state: z.enum(["pending", "linked", "unlinked"]),
    bridge_state: z.string(),
    bridge_detail: Open,
    capabilities: Open,
    settings: Open.meta({ description: "what was entered when linking, without secrets" }),
    created_at: Written,
    updated_at: Written,
  })
  .meta({ id: "Identity" });

export const ContactView = z
  .object({ ref: z.string(), kind: z.enum(["contact", "channel"]), name: z.string(), updated_at: Written })
  .meta({ id: "Contact" });

export const IdentityDetailView = z
  .object({
    ...IdentityView.shape,
    contacts: z.array(ContactView),
    next_contacts_after: z.string().optional(),
  })
  .meta({ id: "IdentityDetail" });

/** @param entry of its service; undefined when no daemon announces the service any more */
export function identityView(
  identity: Identity,
  entry: CatalogEntry | undefined,
): z.output<typeof IdentityView> {
  const { remote, name } = identity;
  return {
    id: identity.id,
    workspace_id: identity.workspace_id,
    user_id: identity.user_id,
    service: identity.service,
    instance: identity.instance,
    home: identity.home,
    state: identity.state,
    bridge_state: identity.bridge_state,
    bridge_detail: identity.bridge_detail,
    capabilities: identity.capabilities,
    settings: shownSettings(identity, entry),
    created_at: identity.created_at.toISOString(),
    updated_at: identity.updated_at.toISOString(),
    ...present({ remote, name }),
  };
}

/**
 * Only settings that the catalogue asks for and that are not secret; settings that a daemon found by itself
 * are not shown.
 */
function shownSettings({ settings }: Identity, entry: CatalogEntry | undefined): Record<string, unknown> {
  const open = entry?.fields.filter(({ secret, advanced }) => !secret && advanced !== true) ?? [];
  return Object.fromEntries(
    open.flatMap(({ name }) => (Object.hasOwn(settings, name) ? [[name, settings[name]]] : [])),
  );
}

export function contactView(contact: Row<typeof contactsOf>): z.output<typeof ContactView> {
  const { ref, kind, name } = contact;
  return { ref, kind, name, updated_at: contact.updated_at.toISOString() };
}

export const QuarantineView = z
  .object({
    id: z.string(),
    at: Written.meta({ description: "when it was last seen" }),
    code: z.string(),
    detail: z.string(),
    routing_key: z.string(),
    issuer: z.string().optional().meta({ description: "as claimed; nothing here is proven" }),
    workspace_id: z.string().optional(),
    message_id: z.string().optional(),
    kid: z.string().optional(),
    seen: z.int(),
    state: z.enum(["open", "retried", "dropped"]),
  })
  .meta({ id: "Quarantined" });

export const QuarantineDetailView = z
  .object({
    ...QuarantineView.shape,
    dsse: z
      .object({
        payload: z.base64(),
        payloadType: z.string(),
        signatures: z.array(z.object({ keyid: z.string(), sig: z.string() })),
      })
      .meta({ description: "the bytes as received; no signatures when it came with none" }),
  })
  .meta({ id: "QuarantinedDetail" });

type Quarantined = Row<typeof quarantined>;

export function quarantineView(
  row: Omit<Quarantined, "body" | "body_hash" | "sig">,
): z.output<typeof QuarantineView> {
  const { issuer, workspace_id, message_id, kid } = row;
  return {
    id: row.id,
    at: row.at.toISOString(),
    code: row.code,
    detail: row.detail,
    routing_key: row.routing_key,
    seen: row.seen,
    state: row.state,
    ...present({ issuer, workspace_id, message_id, kid }),
  };
}

export function quarantineDetailView(row: Quarantined): z.output<typeof QuarantineDetailView> {
  return {
    ...quarantineView(row),
    dsse: {
      payload: Buffer.from(row.body).toString("base64"),
      payloadType: ENVELOPE_TYPE,
      signatures: row.kid === null || row.sig === null ? [] : [{ keyid: row.kid, sig: row.sig }],
    },
  };
}

/** The shapes that Msgr's clients read: catalogue entries and link sessions, each within `data`. */
import type { AuthSession } from "@linkspan/store";
import type { LinkField } from "@linkspan/envelopes";
import type { CatalogEntry } from "@linkspan/worker";
import { z } from "zod";
import { Open, Written } from "./schemas.ts";

const METHOD = "password";
const SURFACE = "native_form";

const FieldView = z.object({
  name: z.string(),
  type: z.enum(["text", "password"]),
  label: z.string(),
  optional: z.boolean(),
  placeholder: z.string().optional(),
});

export const CatalogView = z
  .object({
    id: z.string(),
    service: z.string(),
    display_name: z.string(),
    description: z.string(),
    status: z.enum(["available", "coming_soon"]),
    auth: z.object({
      method: z.string(),
      auth_surface: z.string(),
      form: z.object({ fields: z.array(FieldView) }),
    }),
    capabilities: Open,
    categories: z.array(z.string()),
    prerequisites: z.array(z.string()),
    tags: z.array(z.string()),
    auth_paths: z.object({ start: z.string(), callback: z.string() }),
  })
  .meta({ id: "CatalogEntry" });

export const SessionView = z
  .object({
    id: z.string(),
    account_id: z.string().meta({ description: "the backend's user" }),
    identity_id: z.string(),
    service: z.string(),
    state: z.enum(["initiated", "awaiting_user", "completing", "linked", "failed", "expired", "cancelled"]),
    login_method: z.string(),
    auth_surface: z.string(),
    client_context: Open,
    metadata: Open.meta({
      description:
        "awaiting_user: `fields` to ask for, `message`, `step`; failed: `code` and `message`; linked: `identity_id`",
    }),
    catalog_snapshot: z.union([CatalogView, z.object({})]),
    expires_at: Written,
    last_transition_at: Written,
    authorization_path: z.string(),
    callback_path: z.string(),
    inserted_at: Written,
    updated_at: Written,
  })
  .meta({ id: "LinkSession" });

export function catalogView(entry: CatalogEntry): z.output<typeof CatalogView> {
  return {
    id: entry.service,
    service: entry.service,
    display_name: entry.name,
    description: entry.description,
    status: "available",
    auth: {
      method: METHOD,
      auth_surface: SURFACE,
      form: { fields: entry.fields.filter(({ advanced }) => advanced !== true).map(fieldView) },
    },
    capabilities: { messaging: { directions: ["inbound", "outbound"], media: ["text"] } },
    categories: [],
    prerequisites: [],
    tags: [METHOD],
    auth_paths: {
      start: `/api/bridges/${entry.service}/sessions`,
      callback: credentialsPath(entry.service, ":session_id"),
    },
  };
}

/** @param entry of its service; undefined when no daemon announces it any more */
export function sessionView(
  session: AuthSession,
  entry: CatalogEntry | undefined,
): z.output<typeof SessionView> {
  const changed = session.changed_at.toISOString();
  return {
    id: session.id,
    account_id: session.user_id,
    identity_id: session.identity_id,
    service: session.service,
    state: session.state,
    login_method: METHOD,
    auth_surface: SURFACE,
    client_context: {},
    metadata: session.step,
    catalog_snapshot: entry === undefined ? {} : catalogView(entry),
    expires_at: session.expires_at.toISOString(),
    last_transition_at: changed,
    authorization_path: `/api/bridges/sessions/${session.id}`,
    callback_path: credentialsPath(session.service, session.id),
    inserted_at: session.created_at.toISOString(),
    updated_at: changed,
  };
}

function fieldView(field: LinkField): z.output<typeof FieldView> {
  return {
    name: field.name,
    type: field.secret ? "password" : "text",
    label: field.label,
    optional: !field.required,
    ...(field.example !== undefined && { placeholder: field.example }),
  };
}

function credentialsPath(service: string, session: string): string {
  return `/api/bridges/${service}/sessions/${session}/credentials`;
}

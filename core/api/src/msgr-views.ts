/** The shapes that Msgr's clients read: catalogue entries and link sessions, each within `data`. */
import type { AuthSession, Identity } from "@linkspan/store";
import type { LinkDeclaration, LinkField } from "@linkspan/envelopes";
import { type CatalogEntry, callbackPath } from "@linkspan/worker";
import { z } from "zod";
import { Open, Written } from "./schemas.ts";
import { present } from "./views.ts";

type Method = NonNullable<LinkDeclaration["method"]>;

/** Where Msgr's clients let a person sign in. */
const SURFACES: Readonly<Record<Method, string>> = {
  password: "native_form",
  oauth: "embedded_browser",
  device_link: "external_device",
};
/** Default for a connector that announces nothing about messages. */
const MESSAGING = { directions: ["inbound", "outbound"], media: ["text"] };

const FieldView = z.object({
  name: z.string(),
  type: z.enum(["text", "password"]),
  label: z.string(),
  optional: z.boolean(),
  placeholder: z.string().optional(),
});

const Connection = z.object({
  identity_id: z.string(),
  service: z.string(),
  instance: z.string(),
  display_name: z.string().optional(),
  external_id: z.string().optional(),
  linked_at: Written,
});

const LinkView = z
  .object({ ...Connection.shape, status: z.literal("linked"), connections: z.array(Connection) })
  .meta({ description: "the user's newest account, and all of them" });

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
      status: z
        .enum(["linked", "not_linked"])
        .optional()
        .meta({ description: "of the user; in the catalogue" }),
      linked_at: Written.optional(),
    }),
    capabilities: Open,
    categories: z.array(z.string()),
    prerequisites: z.array(z.string()),
    tags: z.array(z.string()),
    auth_paths: z.object({ start: z.string(), callback: z.string() }),
    link: LinkView.nullish().meta({ description: "null: the user has no account there; in the catalogue" }),
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

/** @param accounts the user's linked accounts, of any service */
export function linkedCatalogView(
  entry: CatalogEntry,
  accounts: readonly Identity[],
): z.output<typeof CatalogView> {
  const view = catalogView(entry);
  const connections = accounts
    .filter(({ service }) => service === entry.service)
    .toSorted((a, b) => b.created_at.getTime() - a.created_at.getTime())
    .map(connectionOf);
  const [newest] = connections;
  if (newest === undefined) return { ...view, auth: { ...view.auth, status: "not_linked" }, link: null };
  return {
    ...view,
    auth: { ...view.auth, status: "linked", linked_at: newest.linked_at },
    link: { ...newest, status: "linked", connections },
  };
}

function connectionOf({ id, service, instance, name, remote, created_at }: Identity) {
  return {
    identity_id: id,
    service,
    instance,
    ...present({ display_name: name, external_id: remote }),
    linked_at: created_at.toISOString(),
  };
}

export function catalogView(entry: CatalogEntry): z.output<typeof CatalogView> {
  const method = entry.method ?? "password";
  return {
    id: entry.service,
    service: entry.service,
    display_name: entry.name,
    description: entry.description,
    status: "available",
    auth: {
      method,
      auth_surface: SURFACES[method],
      form: { fields: entry.fields.filter(({ advanced }) => advanced !== true).map(fieldView) },
    },
    capabilities: { messaging: MESSAGING, ...entry.capabilities },
    categories: [],
    prerequisites: [],
    tags: [method],
    auth_paths: {
      start: `/api/bridges/${entry.service}/sessions`,
      callback: endPath(method, { service: entry.service, id: ":session_id" }),
    },
  };
}

/** @param entry of its service; undefined when no daemon announces the service any more */
export function sessionView(
  session: AuthSession,
  entry: CatalogEntry | undefined,
): z.output<typeof SessionView> {
  const changed = session.changed_at.toISOString();
  const method = entry?.method ?? "password";
  return {
    id: session.id,
    account_id: session.user_id,
    identity_id: session.identity_id,
    service: session.service,
    state: session.state,
    login_method: method,
    auth_surface: SURFACES[method],
    client_context: session.client_context,
    metadata: session.step,
    catalog_snapshot: entry === undefined ? {} : catalogView(entry),
    expires_at: session.expires_at.toISOString(),
    last_transition_at: changed,
    authorization_path: `/api/bridges/sessions/${session.id}`,
    callback_path: endPath(method, session),
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

/** The path to which the entered values are posted. */
function endPath(method: Method, session: Pick<AuthSession, "service" | "id">): string {
  if (method === "oauth") return callbackPath(session);
  return `/api/bridges/${session.service}/sessions/${session.id}/credentials`;
}

/** `linkspan link`: opens a session, hands over the fields, and waits for the outcome. */
import { readFileSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { FabricError } from "@linkspan/envelopes";
import type { Client } from "../client.ts";
import type { Output } from "../output.ts";
import type { IdentityView } from "./identities.ts";

interface SessionView {
  readonly id: string;
  readonly identity_id: string;
  readonly state: string;
  readonly metadata: {
    readonly message?: string;
    readonly code?: FabricError["code"];
    readonly step?: string;
    readonly fields?: readonly FieldView[];
  };
  readonly catalog_snapshot: { readonly auth: { readonly form?: { readonly fields: readonly FormField[] } } };
}

interface FormField {
  readonly name: string;
  readonly type: string;
  readonly label: string;
  readonly optional?: boolean;
}

interface FieldView {
  readonly name: string;
  readonly label: string;
  readonly required: boolean;
  readonly secret: boolean;
  readonly example?: string;
}

const LOOK_MS = 150;

export interface LinkOptions {
  readonly user: string;
  readonly field: readonly (readonly [name: string, value: string])[];
  /** Secrets are read from files, never from arguments. */
  readonly secretFile: readonly (readonly [name: string, path: string])[];
  readonly instance?: string;
  /** The session asked for more fields. */
  readonly session?: string;
}

/**
 * Opens a session, hands over the fields, waits for the outcome.
 *
 * @returns the identity's id; undefined when the session asks for more fields, or for any when none was given
 * @throws FabricError as the connector refused
 */
export async function link(
  client: Client,
  out: Output,
  service: string,
  options: LinkOptions,
): Promise<string | undefined> {
  const credentials = {
    ...Object.fromEntries(options.field),
    ...Object.fromEntries(options.secretFile.map(([name, path]) => [name, readSecret(path)])),
  };
  const opened = options.session === undefined ? await open(client, service, options) : undefined;
  if (opened !== undefined && Object.keys(credentials).length === 0) {
    const fields = opened.catalog_snapshot.auth.form?.fields ?? [];
    if (fields.some(({ optional }) => optional !== true)) {
      out.result(opened, asking(service, opened.id, "it asks for", fields.map(fromForm), options));
      return undefined;
    }
  }
  const id = options.session ?? opened?.id ?? "";
  const path = `/api/bridges/${service}/sessions/${id}/credentials`;
  let { data } = await client.send<{ data: SessionView }>("POST", path, { credentials });
  while (data.state === "completing") {
    out.progress(`${service}: linking…`);
    await pause(LOOK_MS);
    ({ data } = await client.get<{ data: SessionView }>(`/api/bridges/sessions/${id}`));
  }
  const { state, metadata, identity_id } = data;
  if (state === "linked") {
    await connected(client, out, identity_id);
    out.result(data, `${out.good("linked")} ${service} as identity ${identity_id}`);
    return identity_id;
  }
  if (state === "awaiting_user") {
    const what = metadata.message ?? metadata.step ?? "more is needed";
    out.result(data, asking(service, data.id, what, metadata.fields ?? [], options));
    return undefined;
  }
  throw new FabricError(metadata.code ?? "request.invalid", metadata.message ?? `the session is ${state}`);
}

async function open(client: Client, service: string, options: LinkOptions): Promise<SessionView> {
  const { user, instance } = options;
  const body = { user_id: user, ...(instance !== undefined && { instance }) };
  return (await client.send<{ data: SessionView }>("POST", `/api/bridges/${service}/sessions`, body)).data;
}

function fromForm({ name, type, label, optional }: FormField): FieldView {
  return { name, label, required: optional !== true, secret: type === "password" };
}

function asking(
  service: string,
  session: string,
  what: string,
  fields: readonly FieldView[],
  { user }: LinkOptions,
): string {
  const lines = fields.map(({ name, label, secret, required }) => {
    const option = secret ? `--secret-file ${name}=FILE` : `--field ${name}=…`;
    return `  ${option}   ${label}${required ? "" : " (optional)"}`;
  });
  return [`${what}:`, ...lines, `linkspan link ${service} --user ${user} --session ${session} …`].join("\n");
}

const CONNECT_LOOKS = 100;

/** An account is linked before it is connected; waiting here means that the user can send at once. */
async function connected(client: Client, out: Output, id: string): Promise<void> {
  for (let look = 0; look < CONNECT_LOOKS; look++) {
    const { bridge_state, bridge_detail } = await client.get<IdentityView>(`/v1/identities/${id}`);
    if (bridge_state === "connected") return;
    out.progress(`${bridge_state}… ${bridge_detail.message ?? ""}`);
    await pause(LOOK_MS);
  }
}

function readSecret(path: string): string {
  try {
    return readFileSync(path, "utf8").trim();
  } catch (cause) {
    throw new FabricError("request.invalid", `${path} cannot be read: ${(cause as Error).message}`, {
      cause,
    });
  }
}

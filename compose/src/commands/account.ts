/** `linkspan link`, `send`, `events`, `identities`: what a person does with an account. */
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { channelRef, CODES, FabricError, isFabricError } from "@linkspan/envelopes";
import type { Client } from "../client.ts";
import type { Output } from "../output.ts";

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
}

interface FieldView {
  readonly name: string;
  readonly label: string;
  readonly required: boolean;
  readonly secret: boolean;
  readonly example?: string;
}

export interface IntentView {
  readonly id: string;
  readonly state: string;
  readonly code?: FabricError["code"];
  readonly detail?: string;
  readonly remote_ids: readonly string[];
}

interface IdentityView {
  readonly id: string;
  readonly workspace_id: string;
  readonly user_id: string;
  readonly service: string;
  readonly name?: string;
  readonly state: string;
  readonly bridge_state: string;
  readonly bridge_detail: { readonly message?: string };
}

const LOOK_MS = 150;
const UNDER_WAY = new Set(["recorded", "queued", "attempting"]);
const SAID = new Set(["sent", "delivered", "read"]);

export interface LinkOptions {
  readonly user: string;
  readonly field: readonly (readonly [name: string, value: string])[];
  /** Secrets are read from files, never from arguments. */
  readonly secretFile: readonly (readonly [name: string, path: string])[];
  readonly instance?: string;
  /** One that asked for more. */
  readonly session?: string;
}

/**
 * Opens a session, hands over the fields, waits for the outcome.
 *
 * @returns the identity's id; undefined when the session asks for more
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
  const id = options.session ?? (await open(client, service, options)).id;
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
    out.result(data, asking(service, data, options));
    return undefined;
  }
  throw new FabricError(metadata.code ?? "request.invalid", metadata.message ?? `the session is ${state}`);
}

async function open(client: Client, service: string, options: LinkOptions): Promise<SessionView> {
  const { user, instance } = options;
  const body = { user_id: user, ...(instance !== undefined && { instance }) };
  return (await client.send<{ data: SessionView }>("POST", `/api/bridges/${service}/sessions`, body)).data;
}

function asking(service: string, { id, metadata }: SessionView, { user }: LinkOptions): string {
  const fields = (metadata.fields ?? []).map(({ name, label, secret }) =>
    secret ? `  --secret-file ${name}=FILE   ${label}` : `  --field ${name}=…   ${label}`,
  );
  const what = metadata.message ?? metadata.step ?? "more is needed";
  return [`${what}:`, ...fields, `linkspan link ${service} --user ${user} --session ${id} …`].join("\n");
}

const CONNECT_LOOKS = 100;

/** An account is linked before it is connected; who sends at once should not have to know. */
async function connected(client: Client, out: Output, id: string): Promise<void> {
  for (let look = 0; look < CONNECT_LOOKS; look++) {
    const { bridge_state, bridge_detail } = await client.get<IdentityView>(`/v1/identities/${id}`);
    if (bridge_state === "connected") return;
    out.progress(`${bridge_state}… ${bridge_detail.message ?? ""}`);
    await pause(LOOK_MS);
  }
}

export interface SendOptions {
  /** Id, or the name that it has on its platform, if only one has it. */
  readonly identity: string;
  readonly user?: string;
  /** A channel reference, or `<network>/<channel or nick>` of the identity's service. */
  readonly to: string;
  readonly wait: boolean;
  readonly key?: string;
}

/** @returns the intent as it stands; with `wait`, once it is settled */
export async function send(
  client: Client,
  out: Output,
  text: string,
  options: SendOptions,
): Promise<IntentView> {
  const speaker = await identityCalled(client, options.identity);
  const body = {
    identity_id: speaker.id,
    ...(options.user !== undefined && { user_id: options.user }),
    conversation: conversationOf(speaker, options.to),
    payload: { text },
  };
  const key = options.key ?? randomUUID();
  let intent = await client.send<IntentView>("POST", "/v1/intents", body, { "idempotency-key": key });
  while (options.wait && UNDER_WAY.has(intent.state)) {
    out.progress(`${intent.id}: ${intent.state}…`);
    await pause(LOOK_MS);
    intent = await client.get<IntentView>(`/v1/intents/${intent.id}`);
  }
  const why = intent.detail ?? intent.code;
  const state = wasSaid(intent) ? out.good(intent.state) : out.dim(intent.state);
  out.result(intent, `${state} ${intent.id}${why === undefined ? "" : ` (${why})`}`);
  return intent;
}

export function wasSaid(intent: IntentView): boolean {
  return SAID.has(intent.state);
}

const ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

async function identityCalled(client: Client, who: string): Promise<IdentityView> {
  if (ID.test(who)) return client.get<IdentityView>(`/v1/identities/${who}`);
  const { identities: all } = await client.get<{ identities: IdentityView[] }>("/v1/identities");
  const found = all.filter(({ name, state }) => name === who && state === "linked");
  const [one, ...others] = found;
  if (one === undefined) throw new FabricError("request.not_found", `nobody is linked as ${who}`);
  if (others.length === 0) return one;
  throw new FabricError("request.invalid", `${found.length} are called ${who}; give the id of one`);
}

function conversationOf({ id, workspace_id, service }: IdentityView, to: string): string {
  return to.startsWith("msgr://") ? to : channelRef(workspace_id, service, placeOf(service, id, to));
}

/** On IRC what is no channel is a nick, and only this account sees what is said with it (contract section 6). */
function placeOf(service: string, identity: string, to: string): string[] {
  const [network = "", ...rest] = to.split("/");
  const name = rest.join("/");
  if (service !== "irc" || name === "") return to.split("/");
  return /^[#&+!]/.test(name) ? [network, name] : [network, `~${identity}`, name];
}

export interface EventsOptions {
  readonly follow: boolean;
  readonly cursor: number | "latest";
  readonly limit: number;
}

interface EventView {
  readonly position: number;
  readonly service: string;
  readonly conversation?: string;
  readonly envelope: {
    readonly payload: {
      readonly text?: string;
      readonly kind?: string;
      readonly sender?: { readonly name?: string };
    };
  };
}

const AGAIN_MS = 1_000;

/** Prints events after the cursor; with `follow`, until aborted, going on where the stream broke. */
export async function events(
  client: Client,
  out: Output,
  options: EventsOptions,
  signal: AbortSignal,
): Promise<void> {
  const { cursor, limit, follow } = options;
  if (!follow) {
    const page = await client.get<{ events: EventView[] }>(`/v1/events?cursor=${cursor}&limit=${limit}`);
    for (const event of page.events) show(out, event);
    return;
  }
  let last: number | undefined;
  while (!signal.aborted) {
    try {
      const from = last === undefined ? undefined : String(last);
      for await (const message of client.stream(`/v1/events/stream?cursor=${cursor}`, signal, from)) {
        const event = JSON.parse(message.data) as EventView;
        show(out, event);
        last = event.position;
      }
    } catch (error) {
      if (signal.aborted) return;
      if (isFabricError(error) && !isPassing(error)) throw error;
      out.progress(`the stream broke (${(error as Error).message}); trying again`);
    }
    await pause(AGAIN_MS, undefined, { signal }).catch(() => undefined);
  }
}

/** Another program in the API's place is a fault of ours, and does not pass. */
function isPassing({ code }: FabricError): boolean {
  return code !== "internal" && CODES[code].retry !== "never";
}

function show(out: Output, event: EventView): void {
  const { payload } = event.envelope;
  const who = payload.sender?.name ?? "?";
  const what = payload.text ?? `[${payload.kind ?? "event"}]`;
  out.result(
    event,
    `${out.dim(`${event.position} ${event.conversation ?? event.service}`)} <${who}> ${what}`,
  );
}

export async function identities(client: Client, out: Output, { user }: { user?: string }): Promise<void> {
  const query = user === undefined ? "" : `?${new URLSearchParams({ user_id: user })}`;
  const { identities: all } = await client.get<{ identities: IdentityView[] }>(`/v1/identities${query}`);
  for (const one of all) {
    const state = one.bridge_state === "connected" ? out.good(one.bridge_state) : out.bad(one.bridge_state);
    out.result(one, `${one.id}  ${one.service}  ${one.name ?? one.state}  ${one.user_id}  ${state}`);
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

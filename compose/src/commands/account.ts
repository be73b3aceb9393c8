/** `linkspan link`, `send`, `events`: what a person does with an account. */
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { channelRef, FabricError } from "@linkspan/envelopes";
import type { Client } from "../client.ts";
import type { Output } from "../output.ts";

interface SessionView {
  readonly data: {
    readonly id: string;
    readonly identity_id: string;
    readonly state: string;
    readonly metadata: { readonly message?: string; readonly code?: FabricError["code"] };
  };
}

export interface IntentView {
  readonly id: string;
  readonly state: string;
  readonly code?: FabricError["code"];
  readonly detail?: string;
  readonly remote_ids: readonly string[];
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

const LOOK_MS = 200;
const OPEN = new Set(["initiated", "completing"]);
const UNDER_WAY = new Set(["recorded", "queued", "attempting"]);

export interface LinkOptions {
  readonly user: string;
  /** `name=value` settings. */
  readonly field: readonly string[];
  /** `name=path`: secrets are read from files, never from arguments. */
  readonly secretFile: readonly string[];
  readonly instance?: string;
}

/** Opens a session, hands over the fields, waits for the outcome. @returns the identity's id */
export async function link(
  client: Client,
  out: Output,
  service: string,
  options: LinkOptions,
): Promise<string> {
  const opened = await client.send<SessionView>("POST", `/api/bridges/${service}/sessions`, {
    user_id: options.user,
    ...(options.instance !== undefined && { instance: options.instance }),
  });
  const credentials = {
    ...Object.fromEntries(options.field.map(pair)),
    ...Object.fromEntries(
      options.secretFile.map(pair).map(([name, path]) => [name, readFileSync(path, "utf8").trim()]),
    ),
  };
  const id = opened.data.id;
  let session = await client.send<SessionView>("POST", `/api/bridges/${service}/sessions/${id}/credentials`, {
    credentials,
  });
  while (OPEN.has(session.data.state)) {
    out.progress(`${service}: ${session.data.state}…`);
    await pause(LOOK_MS);
    session = await client.get<SessionView>(`/api/bridges/sessions/${id}`);
  }
  const { state, metadata, identity_id } = session.data;
  if (state === "linked") {
    out.result(session.data, `${out.good("linked")} ${service} as identity ${identity_id}`);
    return identity_id;
  }
  throw new FabricError(metadata.code ?? "request.invalid", metadata.message ?? `the session is ${state}`);
}

export interface SendOptions {
  readonly identity: string;
  readonly user: string;
  /** A channel reference, or `<network>/<channel>` of the identity's service. */
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
  const body = {
    identity_id: options.identity,
    user_id: options.user,
    conversation: await conversationOf(client, options),
    payload: { text },
  };
  const key = options.key ?? randomUUID();
  let intent = await client.send<IntentView>("POST", "/v1/intents", body, { "idempotency-key": key });
  while (options.wait && UNDER_WAY.has(intent.state)) {
    out.progress(`${intent.id}: ${intent.state}…`);
    await pause(LOOK_MS);
    intent = await client.get<IntentView>(`/v1/intents/${intent.id}`);
  }
  const paint = ["sent", "delivered", "read"].includes(intent.state) ? out.good : out.dim;
  out.result(
    intent,
    `${paint(intent.state)} ${intent.id}${intent.detail === undefined ? "" : ` (${intent.detail})`}`,
  );
  return intent;
}

async function conversationOf(client: Client, options: SendOptions): Promise<string> {
  if (options.to.startsWith("msgr://")) return options.to;
  const identity = await client.get<{ workspace_id: string; service: string }>(
    `/v1/identities/${options.identity}`,
  );
  return channelRef(identity.workspace_id, identity.service, options.to.split("/"));
}

export interface EventsOptions {
  readonly follow: boolean;
  readonly cursor: number;
  readonly limit: number;
}

/** Prints events after the cursor; with `follow`, until aborted, resuming where the stream broke. */
export async function events(
  client: Client,
  out: Output,
  options: EventsOptions,
  signal: AbortSignal,
): Promise<void> {
  let cursor = options.cursor;
  if (!options.follow) {
    const page = await client.get<{ events: EventView[] }>(
      `/v1/events?cursor=${cursor}&limit=${options.limit}`,
    );
    for (const event of page.events) show(out, event);
    return;
  }
  while (!signal.aborted) {
    try {
      for await (const message of client.stream("/v1/events/stream", signal, String(cursor))) {
        const event = JSON.parse(message.data) as EventView;
        show(out, event);
        cursor = event.position;
      }
    } catch (error) {
      if (signal.aborted) return;
      out.progress(`the stream broke (${(error as Error).message}); trying again`);
    }
    await pause(1_000, undefined, { signal }).catch(() => undefined);
  }
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

function pair(text: string): [string, string] {
  const at = text.indexOf("=");
  if (at <= 0) throw new FabricError("request.invalid", `${text} is not name=value`);
  return [text.slice(0, at), text.slice(at + 1)];
}

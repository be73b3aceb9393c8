/** `linkspan send`: submits an intent, and with `--wait` prints its result. */
import { randomUUID } from "node:crypto";
import { setTimeout as pause } from "node:timers/promises";
import { channelRef, type FabricError } from "@linkspan/envelopes";
import type { Client } from "../client.ts";
import type { Output } from "../output.ts";
import { identityCalled, type IdentityView } from "./identities.ts";

export interface IntentView {
  readonly id: string;
  readonly state: string;
  readonly code?: FabricError["code"];
  readonly detail?: string;
  readonly remote_ids: readonly string[];
}

const LOOK_MS = 150;
const UNDER_WAY = new Set(["recorded", "queued", "attempting"]);
const SAID = new Set(["sent", "delivered", "read"]);

export interface SendOptions {
  /** The id, or the name on its platform if only one identity has that name. */
  readonly identity: string;
  readonly user?: string;
  /** A channel reference, or `<network>/<channel or nick>` of the identity's service. */
  readonly to: string;
  readonly wait: boolean;
  readonly key?: string;
}

/** @returns the current intent; with `wait`, once it is settled */
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

function conversationOf({ id, workspace_id, service }: IdentityView, to: string): string {
  return to.startsWith("msgr://") ? to : channelRef(workspace_id, service, placeOf(service, id, to));
}

/**
 * On IRC a target that is not a channel is a nick, and only this account sees messages to it (contract
 * section 6).
 */
function placeOf(service: string, identity: string, to: string): string[] {
  const [network = "", ...rest] = to.split("/");
  const name = rest.join("/");
  if (service !== "irc" || name === "") return to.split("/");
  return /^[#&+!]/.test(name) ? [network, name] : [network, `~${identity}`, name];
}

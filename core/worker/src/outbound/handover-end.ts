/** How an intent ends that a daemon was given and does not report on: by its answer, where it gives one. */
import { decode, FabricError, isFabricError, type Opened, type OutboundReply } from "@linkspan/envelopes";
import type { Delivery } from "@linkspan/fabric";
import type { IntentState, Turn } from "@linkspan/store";
import { isUnsigned } from "../authority.ts";
import type { Core } from "../core.ts";
import { CORE } from "../send.ts";

export interface End {
  readonly to: IntentState;
  readonly actor: string;
  readonly code?: FabricError["code"];
  readonly detail?: string;
  readonly remoteId?: string;
}

export const UNREPORTED: End = {
  to: "uncertain",
  actor: CORE,
  code: "send.uncertain",
  detail: "the daemon was given it, and does not tell what becomes of it",
};

/** By the answer; one that is refused tells nothing. */
export function endOf(core: Core, { intent, instance, kid }: Turn, action: string, answer: Delivery): End {
  const actor = `daemon:${intent.service}:${instance}`;
  try {
    const { envelope, kid: signer } = openAnswer(core, { intent, instance, kid }, action, answer);
    const { issuer, in_reply_to, workspace_id } = envelope.metadata;
    const isIts =
      (signer === kid || signer === undefined) &&
      issuer === actor &&
      in_reply_to === intent.id &&
      workspace_id === intent.workspace_id;
    if (!isIts) throw new FabricError("envelope.wrong_issuer", "the answer is not the daemon's");
    return outcomeOf(envelope.payload, actor);
  } catch (error) {
    if (!isFabricError(error)) throw error;
    return { ...UNREPORTED, detail: `its answer is refused: ${error.code}` };
  }
}

/** Msgr's SDKs write neither workspace nor message id; the transport tells whom they answer. */
function openAnswer(
  core: Core,
  { intent, instance, kid }: Pick<Turn, "intent" | "instance" | "kid">,
  action: string,
  { body, kid: signer, sig }: Delivery,
): Opened {
  const received = { body, kid: signer, sig };
  const options = { keys: core.keys, now: core.now() };
  if (!isUnsigned(core, kid)) return decode(received, { ...options, signatures: "required" });
  const topic = { service: intent.service, instance, action };
  const workspace = { foreignWorkspace: intent.workspace_id, foreignInReplyTo: intent.id };
  return decode({ ...received, topic }, { ...options, ...workspace, signatures: "optional" });
}

function outcomeOf(payload: Readonly<Record<string, unknown>>, actor: string): End {
  const { error } = payload;
  if (typeof error === "object" && error !== null && "code" in error) {
    const { code, detail } = error as { readonly code: FabricError["code"]; readonly detail?: string };
    return { to: "failed", actor, code, ...(detail !== undefined && { detail }) };
  }
  const { status, remote_id, event_id, message_id } = payload as OutboundReply;
  if (status === "failed" || status === "error") return { to: "failed", actor, code: "platform.unavailable" };
  const id = remote_id ?? event_id ?? message_id;
  return { to: "sent", actor, ...(id !== undefined && { remoteId: String(id) }) };
}

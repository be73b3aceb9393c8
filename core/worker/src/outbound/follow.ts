/** What daemons report of an intent: it was said, it was not, nobody knows, or not now. */
import type { Deferred, DeliveryStatus, Envelope } from "@linkspan/envelopes";
import {
  audit,
  dequeue,
  type Intent,
  type IntentState,
  lockIntent,
  moveIntent,
  postpone,
  type Queryable,
} from "@linkspan/store";
import type { Core } from "../core.ts";
import type { Outcome } from "../inbound/outcome.ts";
import { isSettled, mayMove } from "./states.ts";

export async function followDelivery(
  core: Core,
  on: Queryable,
  outcome: Outcome,
  envelope: Envelope,
  status: DeliveryStatus,
): Promise<void> {
  const intent = await reportable(on, envelope, status.intent_id);
  if (intent === undefined) return;
  if (status.status === "sent" && status.part + 1 < status.parts) {
    await nextPart(on, intent, status);
    return;
  }
  const state: IntentState = status.status;
  if (!mayMove(intent.state, state)) return;
  await moveIntent(on, intent.id, {
    state,
    code: status.code ?? null,
    detail: status.detail ?? null,
    ...(state === "sent" && {
      part: status.part + 1,
      parts: status.parts,
      remoteIds: withId(intent, status),
    }),
  });
  if (isSettled(state)) await dequeue(on, intent.id);
  await audit(on, {
    workspaceId: intent.workspace_id,
    actor: envelope.metadata.issuer,
    action: `intent.${state}`,
    subject: intent.id,
    detail: { attempt: status.attempt, ...(status.code !== undefined && { code: status.code }) },
  });
  outcome.wakes.add("outbox");
  outcome.reports.push(() => core.metrics.intent(state, intent.service));
}

/** One part of several is out; its status may come after the next part was asked for. */
async function nextPart(on: Queryable, intent: Intent, status: DeliveryStatus): Promise<void> {
  if (isSettled(intent.state) || status.part > intent.part) return;
  const current = status.part === intent.part;
  await moveIntent(on, intent.id, {
    state: "attempting",
    parts: status.parts,
    remoteIds: withId(intent, status),
    ...(current && { part: status.part + 1, askId: null }),
  });
}

function withId(intent: Intent, status: DeliveryStatus): string[] {
  const ids = [...intent.remote_ids];
  ids[status.part] = status.remote_id ?? "";
  return Array.from(ids, (id) => id ?? "");
}

/** The daemon was not granted the part: the lane waits until then. */
export async function deferIntent(
  on: Queryable,
  outcome: Outcome,
  envelope: Envelope,
  deferred: Deferred,
): Promise<void> {
  const intent = await reportable(on, envelope, deferred.intent_id);
  if (intent === undefined || intent.attempt !== deferred.attempt || isSettled(intent.state)) return;
  // A granted part is in doubt to everyone but the holder that was granted it and says it did not write.
  const granted = intent.state === "attempting" && intent.ask_id !== null;
  if (granted && Number(intent.ask_epoch) !== envelope.metadata.epoch) return;
  await moveIntent(on, intent.id, { state: "queued", detail: deferred.reason, askId: null });
  await postpone(on, intent.id, new Date(deferred.until));
  outcome.wakes.add("outbox");
}

/** Only the instance that serves the identity reports of its intents; `admit` checked that it does. */
async function reportable(on: Queryable, envelope: Envelope, intentId: string): Promise<Intent | undefined> {
  const intent = await lockIntent(on, intentId);
  if (intent?.workspace_id !== envelope.metadata.workspace_id) return undefined;
  return intent.identity_id === envelope.metadata.identity_id && intent.service === envelope.service
    ? intent
    : undefined;
}

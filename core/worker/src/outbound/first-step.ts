/**
 * The first move of an intent, which is made with its row: the decision. The rules are those of `states.ts`, and what
 * follows is what `transition` does for every other move: a step, an audit entry, a metric, a wake-up, and here, in
 * place of leaving the outbox, the place in it.
 */
import type { DecidedIntent, Identity, Intent, NewIntent } from "@linkspan/store";
import type { AfterCommit } from "../after-commit.ts";
import type { Core } from "../core.ts";
import type { Decision } from "../policy/decide.ts";
import { destination, isSettled } from "./states.ts";

/** @param actor who asked for it */
export function firstStep(
  intent: NewIntent,
  identity: Identity,
  decision: Decision,
  actor: string,
): DecidedIntent {
  const state = destination({ state: "recorded", part: 0, ask_id: null }, "decision", decision.state);
  if (state === undefined) throw new Error(`a decision cannot be ${decision.state}`);
  const { code, reason } = decision;
  const told = { decision_id: decision.id, policy: decision.policy };
  const { action, conversation } = intent;
  return {
    intent,
    state,
    code,
    detail: reason,
    decision: told,
    audit: [
      {
        actor,
        action: "intent.recorded",
        detail: { identity_id: identity.id, action, conversation: conversation ?? null },
      },
      { actor: "core", action: `intent.${state}`, detail: { ...(code !== undefined && { code }), ...told } },
    ],
    place:
      state === "queued"
        ? {
            intentId: intent.id,
            service: intent.service,
            instance: identity.instance,
            identityId: intent.identityId,
            lane: conversation ?? "",
            bytes: Buffer.byteLength(JSON.stringify(intent.payload)),
          }
        : undefined,
  };
}

export function reportFirstStep(core: Core, after: AfterCommit, { state, service }: Intent): void {
  if (isSettled(state) || state === "queued") after.wakes.add("outbox");
  after.reports.push(() => core.metrics.intent(state, service));
}

/**
 * Recording and deciding, for callers. The same key with the same content answers the same; with other content it is
 * refused.
 */
import { setImmediate as nextRound } from "node:timers/promises";
import type { Core } from "../core.ts";
import { oneRef } from "./conversation-ref.ts";
import type { IntentRequest, Recorded, Wanted } from "./intent-request.ts";
import type { Shared } from "./recording.ts";
import { requireSendable } from "./sendable.ts";
import { declarationFor, recordShared, sharedOf } from "./shared-recording.ts";
import { noIdentity, toWanted } from "./wanted.ts";

/**
 * @returns the intent, and whether this call recorded it
 * @throws FabricError `request.invalid`, `request.not_found`, `request.rate_limited`, `action.unsupported`,
 *   `intent.conflict`, `intent.too_large`, `intent.queue_full`; `envelope.*` for what fits no envelope
 */
export async function recordIntent(core: Core, request: IntentRequest): Promise<Recorded> {
  const shared = sharedOf(core);
  return recordShared(shared, await check(core, shared, request));
}

/** Checking a member costs a tenth of a millisecond; others have their turn in between. */
const CHECKED_AT_ONCE = 16;

/**
 * Records many, each with its own outcome; those of one conversation in their order.
 *
 * @returns in the order asked; an error is what `recordIntent` throws
 */
export async function recordIntents(
  core: Core,
  requests: readonly IntentRequest[],
): Promise<PromiseSettledResult<Recorded>[]> {
  const shared = sharedOf(core);
  const checked: PromiseSettledResult<Wanted>[] = [];
  for (let at = 0; at < requests.length; at += CHECKED_AT_ONCE) {
    if (at > 0) await nextRound();
    const some = requests.slice(at, at + CHECKED_AT_ONCE);
    checked.push(...(await Promise.allSettled(some.map((request) => check(core, shared, request)))));
  }
  return Promise.allSettled(
    checked.map(async (outcome) => {
      if (outcome.status === "rejected") throw outcome.reason;
      return recordShared(shared, outcome.value);
    }),
  );
}

/** What is wrong by itself is refused before a transaction is opened for it. */
async function check(core: Core, shared: Shared, request: IntentRequest): Promise<Wanted> {
  requireSendable(request);
  const speaker = await shared.speakers.find(request.identityId);
  if (speaker?.workspace_id !== request.workspaceId) throw noIdentity();
  const conversation =
    request.conversation === undefined
      ? undefined
      : await oneRef(speaker, request.conversation, () => declarationFor(shared, speaker));
  return toWanted(core, request, speaker, conversation);
}

/**
 * The pump: takes intents whose turn it is and publishes them, each with a ticket minted that moment.
 *
 * It is woken when an intent is recorded or settled, and looks by itself once a second. An intent whose
 * daemon died, or that nobody spoke of for a while, is published again as the next attempt; the `attempt`
 * question keeps that from saying anything twice.
 */
import { actionOf, isFabricError, mintTicket, ticketStamp } from "@linkspan/envelopes";
import { claimTurns, nextDue, postpone, type Turn } from "@linkspan/store";
import type { Core } from "../core.ts";
import { POLICY_HASH } from "../policy/decide.ts";
import { CORE, type Draft, outgoing } from "../send.ts";

export interface PumpOptions {
  /** Intents of one identity that may be out together. Default 16. */
  readonly credit?: number;
  /** A published intent without a word is published again after this, milliseconds. Default 30,000. */
  readonly overdueMs?: number;
}

const LOOK_MS = 1_000;
const UNROUTABLE_PAUSE_MS = 1_000;
const TURNS_AT_ONCE = 200;

/** Runs until aborted; database outages are waited out. */
export async function runPump(core: Core, options: PumpOptions, signal: AbortSignal): Promise<void> {
  let woken = true;
  core.wakes.on("outbox", () => (woken = true), signal);
  while (!signal.aborted) {
    woken = false;
    let pauseMs = LOOK_MS;
    try {
      const turns = await claimTurns(core.database.pool, {
        limit: TURNS_AT_ONCE,
        credit: options.credit ?? 16,
        overdueMs: options.overdueMs ?? 30_000,
      });
      for (const turn of turns) void publishTurn(core, turn);
      if (turns.length === TURNS_AT_ONCE) continue;
      const due = await nextDue(core.database.pool);
      if (due !== undefined) pauseMs = Math.min(LOOK_MS, Math.max(1, due.getTime() - core.now().getTime()));
    } catch (error) {
      core.log.warn({ event: "pump.waiting", err: error }, "the outbox is looked at again soon");
    }
    if (!woken) await core.wakes.wait("outbox", pauseMs, signal);
  }
}

async function publishTurn(core: Core, turn: Turn): Promise<void> {
  const { intent } = turn;
  try {
    await core.bus.publish(outgoing(core, draftOf(core, turn)));
  } catch (error) {
    const code = isFabricError(error) ? error.code : "internal";
    core.log.warn({ event: "intent.unpublished", intent_id: intent.id, code, err: error }, "an intent waits");
    if (code !== "bus.unroutable") return;
    // Nobody took it, so nobody can have asked to say it: this attempt ends here.
    await postpone(core.database.pool, intent.id, new Date(core.now().getTime() + UNROUTABLE_PAUSE_MS)).catch(
      (failure: unknown) =>
        core.log.warn({ event: "intent.unpublished", intent_id: intent.id, err: failure }, "overdue later"),
    );
  }
}

function draftOf(core: Core, { intent, instance, epoch, kid }: Turn): Draft {
  const capability = actionOf(intent.service, intent.action)?.capability ?? "send";
  const ticket = mintTicket(
    {
      iss: CORE,
      aud: `daemon:${intent.service}:${instance}`,
      cnf: kid,
      workspace_id: intent.workspace_id,
      identity_id: intent.identity_id,
      service: intent.service,
      actions: [intent.action],
      capabilities: [capability],
      ...(intent.conversation !== null && { conversation: intent.conversation }),
      intent_hash: Buffer.from(intent.content).toString("base64url"),
      attempt: intent.attempt,
      lease_id: `${intent.service}:${instance}:${epoch}`,
      policy_hash: POLICY_HASH,
      decision_id: intent.id,
      ...ticketStamp([capability], core.now()),
    },
    core.signer,
  );
  return {
    service: intent.service,
    instance,
    action: intent.action,
    workspaceId: intent.workspace_id,
    messageId: intent.id,
    traceId: intent.trace_id,
    metadata: {
      user_id: intent.user_id,
      identity_id: intent.identity_id,
      ticket,
      ...(intent.conversation !== null && { conversation: intent.conversation }),
    },
    payload: intent.payload,
  };
}

/** One batch, one transaction: admit each envelope, store the events together, apply the rest in order. */
import type { FabricError, Opened } from "@linkspan/envelopes";
import { routingKey } from "@linkspan/envelopes";
import type { Delivery } from "@linkspan/fabric";
import { type Queryable, quarantine } from "@linkspan/store";
import type { Core } from "../core.ts";
import { type Admitted, admit } from "./admit.ts";
import { applyEffect } from "./effects.ts";
import { storeEvents } from "./events.ts";
import { newOutcome, type Outcome } from "./outcome.ts";

export type Received =
  | { readonly delivery: Delivery; readonly opened: Opened; readonly refused?: never }
  | { readonly delivery: Delivery; readonly opened?: never; readonly refused: FabricError };

export async function applyBatch(core: Core, on: Queryable, batch: readonly Received[]): Promise<Outcome> {
  const outcome = newOutcome();
  const opened: { delivery: Delivery; opened: Opened }[] = [];
  for (const received of batch) {
    if (received.refused === undefined) opened.push(received);
    else await refuse(core, on, outcome, received.delivery, undefined, received.refused);
  }
  const events: Admitted[] = [];
  for (const admission of await admit(on, opened)) {
    const { delivery, opened: one, refused } = admission;
    if (refused !== undefined) await refuse(core, on, outcome, delivery, one, refused);
    else if (one.action.canonical === "inbound_event" || one.action.canonical === "history_batch")
      events.push(admission);
    else {
      const conflict = await applyEffect(core, on, outcome, one);
      if (conflict !== undefined) await refuse(core, on, outcome, delivery, one, conflict);
    }
  }
  for (const { admitted, conflict } of await storeEvents(core, on, outcome, events)) {
    await refuse(core, on, outcome, admitted.delivery, admitted.opened, conflict);
  }
  return outcome;
}

/** Quarantine: the code, the route and the bytes are kept, nothing else changes, the sender is told. */
async function refuse(
  core: Core,
  on: Queryable,
  outcome: Outcome,
  delivery: Delivery,
  opened: Opened | undefined,
  error: FabricError,
): Promise<void> {
  const metadata = opened?.envelope.metadata;
  const messageId = metadata?.message_id ?? claimedId(delivery);
  const id = await quarantine(on, {
    code: error.code,
    detail: error.message,
    routingKey: routingKey(delivery.route),
    issuer: metadata?.issuer,
    workspaceId: metadata?.workspace_id,
    messageId,
    kid: delivery.kid,
    sig: delivery.sig,
    body: delivery.body,
  });
  outcome.reports.push(() => {
    core.metrics.quarantined(error.code);
    core.log.warn(
      {
        event: "envelope.quarantined",
        code: error.code,
        quarantine_id: id,
        route: routingKey(delivery.route),
      },
      "refused an envelope",
    );
  });
  // Only who signed is told: an unsigned or forged envelope has no sender to answer.
  const known = delivery.kid !== undefined && core.keys.get(delivery.kid) !== undefined;
  if (!known || messageId === undefined || error.code === "envelope.bad_signature") return;
  outcome.acks.push({
    service: delivery.route.service,
    instance: delivery.route.instance,
    workspaceId: metadata?.workspace_id,
    account: accountOf(opened),
    messageId,
    status: "quarantined",
    code: error.code,
  });
}

/** The transport's own copy, which nobody signed: good enough to name what was refused, if it is an id at all. */
function claimedId({ messageId }: Delivery): string | undefined {
  return messageId !== undefined && /^[A-Za-z0-9_-]{43}$/.test(messageId) ? messageId : undefined;
}

function accountOf(opened: Opened | undefined): string {
  const account = opened?.envelope.payload.account;
  return typeof account === "string" ? account : "_";
}

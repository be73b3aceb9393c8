/**
 * One batch, one transaction: admit each envelope, apply notes in order, store the events together, then follow what
 * is reported of intents, which locks their lanes.
 */
import type { FabricError, Opened } from "@linkspan/envelopes";
import { routingKey } from "@linkspan/envelopes";
import type { Delivery } from "@linkspan/fabric";
import { type Queryable, quarantineAll, type Refused } from "@linkspan/store";
import type { Core } from "../core.ts";
import { claimOf } from "../authority.ts";
import { type Admission, type Admitted, admit } from "./admit.ts";
import { applyEffect } from "./effects.ts";
import { storeEvents } from "./events.ts";
import { newOutcome, type Outcome } from "./outcome.ts";
import { applyOutcomes, type RefusedReport } from "./outcomes.ts";

export type Received =
  | { readonly delivery: Delivery; readonly opened: Opened; readonly refused?: never }
  | { readonly delivery: Delivery; readonly opened?: never; readonly refused: FabricError };

export async function applyBatch(core: Core, on: Queryable, batch: readonly Received[]): Promise<Outcome> {
  const outcome = newOutcome();
  const refusals: Refusal[] = [];
  const opened: { delivery: Delivery; opened: Opened }[] = [];
  for (const received of batch) {
    if (received.refused === undefined) opened.push(received);
    else refusals.push({ delivery: received.delivery, opened: undefined, error: received.refused });
  }
  const events: Admitted[] = [];
  const outcomes: Admission[] = [];
  for (const admission of await admit(on, opened)) {
    const { delivery, opened: one, refused } = admission;
    if (refused !== undefined) refusals.push({ delivery, opened: one, error: refused });
    else if (one.action.canonical === "inbound_event" || one.action.canonical === "history_batch")
      events.push(admission);
    else if (claimOf(one.action.canonical) === "outcome") outcomes.push(admission);
    else await applyEffect(core, on, outcome, one);
  }
  for (const { admitted, conflict } of await storeEvents(core, on, outcome, events)) {
    refusals.push({ delivery: admitted.delivery, opened: admitted.opened, error: conflict });
  }
  refusals.push(...byEnvelope(await applyOutcomes(core, on, outcome, outcomes)));
  const ids = await quarantineAll(on, refusals.map(toRow));
  for (const [at, refusal] of refusals.entries()) tell(core, outcome, refusal, ids[at] as string);
  return outcome;
}

/** What goes to quarantine: the code, the route and the bytes are kept, nothing else changes, the sender is told. */
interface Refusal {
  readonly delivery: Delivery;
  readonly opened: Opened | undefined;
  readonly error: FabricError;
  /** Of a batch of reports, those that it is about. */
  readonly reports?: readonly RefusedReport[];
}

/** The bytes are kept once, however many of its reports were refused; the others had their effect. */
function byEnvelope(reports: readonly RefusedReport[]): Refusal[] {
  return [...Map.groupBy(reports, ({ admission }) => admission)].map(([{ delivery, opened }, refused]) => ({
    delivery,
    opened,
    error: (refused[0] as RefusedReport).error,
    reports: refused,
  }));
}

function toRow(refusal: Refusal): Refused {
  const { delivery, opened, error } = refusal;
  const metadata = opened?.envelope.metadata;
  return {
    code: error.code,
    detail: error.message,
    routingKey: routingKey(delivery.route),
    issuer: metadata?.issuer,
    workspaceId: metadata?.workspace_id,
    messageId: idOf(refusal),
    kid: delivery.kid,
    sig: delivery.sig,
    body: delivery.body,
  };
}

function tell(core: Core, outcome: Outcome, refusal: Refusal, id: string): void {
  const { delivery, opened, error, reports } = refusal;
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
  if (!known || error.code === "envelope.bad_signature") return;
  const acked = reports?.map((one) => ({ messageId: one.report.messageId, code: one.error.code })) ?? [
    { messageId: idOf(refusal), code: error.code },
  ];
  for (const { messageId, code } of acked) {
    if (messageId === undefined) continue;
    outcome.acks.push({
      service: delivery.route.service,
      instance: delivery.route.instance,
      workspaceId: opened?.envelope.metadata.workspace_id,
      account: accountOf(opened),
      messageId,
      status: "quarantined",
      code,
    });
  }
}

function idOf({ opened, delivery }: Refusal): string | undefined {
  return opened?.envelope.metadata.message_id ?? claimedId(delivery);
}

/** The transport's own copy, which nobody signed: good enough to name what was refused, if it is an id at all. */
function claimedId({ messageId }: Delivery): string | undefined {
  return messageId !== undefined && /^[A-Za-z0-9_-]{43}$/.test(messageId) ? messageId : undefined;
}

function accountOf(opened: Opened | undefined): string {
  const account = opened?.envelope.payload.account;
  return typeof account === "string" ? account : "_";
}

/**
 * One batch, one transaction: admit each envelope, apply the notes in order, store the events together, and then
 * follow the reports on intents together, because that locks the lanes of the outbox.
 */
import type { CanonicalEvent, FabricError, Opened } from "@linkspan/envelopes";
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
    const { delivery, opened: one, refused, event } = admission;
    if (refused !== undefined)
      refusals.push({ delivery, opened: one, error: refused, ...(event && { event }) });
    else if (one.action.canonical === "inbound_event" || one.action.canonical === "history_batch")
      events.push(admission);
    else if (claimOf(one.action.canonical) === "outcome") outcomes.push(admission);
    else await applyEffect(core, on, outcome, one);
  }
  for (const { admitted, conflict } of await storeEvents(core, on, outcome, events)) {
    refusals.push({ ...admitted, error: conflict });
  }
  refusals.push(...byEnvelope(await applyOutcomes(core, on, outcome, outcomes)));
  const ids = await quarantineAll(on, refusals.map(toRow));
  for (const [at, refusal] of refusals.entries()) tell(core, outcome, refusal, ids[at] as string);
  return outcome;
}

/**
 * An envelope for the quarantine: the code, the route and the bytes are stored, nothing else changes, and the
 * sender is told.
 */
interface Refusal {
  readonly delivery: Delivery;
  readonly opened: Opened | undefined;
  readonly event?: CanonicalEvent;
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
  const { delivery, opened, event, error } = refusal;
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
  if (!hasSender(core, refusal) || error.code === "envelope.bad_signature") return;
  const refused = refusal.reports?.map(({ report, error: own }) => ({
    id: report.messageId,
    code: own.code,
  })) ?? [{ id: idOf(refusal), code: error.code }];
  for (const { id: messageId, code } of refused) {
    if (messageId === undefined) continue;
    outcome.acks.push({
      service: delivery.route.service,
      instance: delivery.route.instance,
      workspaceId: opened?.envelope.metadata.workspace_id,
      account: accountOf(refusal),
      messageId,
      status: "quarantined",
      code,
      ...(event !== undefined && { event }),
    });
  }
}

/**
 * Whether the sender is known: the signer, or in a development namespace the sender of a readable envelope. A
 * forged envelope has no known sender.
 */
function hasSender(core: Core, { delivery, opened }: Refusal): boolean {
  if (delivery.kid !== undefined) return core.keys.get(delivery.kid) !== undefined;
  return core.namespace.signatures === "optional" && opened !== undefined;
}

function idOf({ opened, delivery }: Refusal): string | undefined {
  return opened?.envelope.metadata.message_id ?? claimedId(delivery);
}

/**
 * The transport's copy of the id, which is not signed: good enough to name the refused envelope, if it is a
 * valid id.
 */
function claimedId({ messageId }: Delivery): string | undefined {
  return messageId !== undefined && /^[A-Za-z0-9_-]{43}$/.test(messageId) ? messageId : undefined;
}

function accountOf({ opened, event }: Refusal): string {
  const account = event?.payload.account ?? opened?.envelope.payload.account;
  return typeof account === "string" ? account : "_";
}

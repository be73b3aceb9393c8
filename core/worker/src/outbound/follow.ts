/**
 * What daemons report of an intent: it was said, it was not, nobody knows, or not now.
 *
 * A report names the attempt that it is about. That a part was said is true whichever attempt said it; that it
 * failed, is unknown or must wait counts for the current attempt only, because a later one has its own report.
 */
import { isDeepStrictEqual } from "node:util";
import type { Deferred, DeliveryStatus, Envelope } from "@linkspan/envelopes";
import { type Intent, lockIntent, postpone, type Queryable } from "@linkspan/store";
import type { AfterCommit } from "../after-commit.ts";
import type { Core } from "../core.ts";
import { inDoubt } from "./states.ts";
import { transition } from "./transition.ts";

export async function followDelivery(
  core: Core,
  on: Queryable,
  after: AfterCommit,
  envelope: Envelope,
  status: DeliveryStatus,
): Promise<void> {
  const intent = await reportable(on, envelope, status.intent_id);
  if (intent === undefined || !counts(intent, status)) return;
  const step = {
    actor: envelope.metadata.issuer,
    code: status.code,
    detail: status.detail,
    audit: { attempt: status.attempt },
  };
  if (status.status !== "sent") {
    if (status.status === intent.state) return;
    await transition(core, on, after, intent, "report", { ...step, to: status.status });
    return;
  }
  const parts = intent.parts ?? status.parts;
  const said = { parts, remoteIds: withId(intent, status) };
  const part = status.part + 1;
  if (part >= parts) {
    await transition(core, on, after, intent, "report", { ...step, to: "sent", row: { ...said, part } });
  } else if (intent.state === "uncertain" && status.part < intent.part) {
    // A later part is in doubt, and stays so.
    if (isDeepStrictEqual(said.remoteIds, intent.remote_ids)) return;
    const audit = { ...step.audit, part: status.part, parts, said: true };
    const { code, detail } = intent;
    const known = { ...step, code: code ?? undefined, detail: detail ?? undefined, row: said, audit };
    await transition(core, on, after, intent, "report", { ...known, to: "uncertain" });
  } else if (intent.state === "uncertain") {
    // Its lane has moved on: what was in doubt is known now, and the rest will not be said.
    const row = { ...said, part: Math.max(part, intent.part) };
    const code = "send.incomplete";
    const known = { ...intent, part: row.part, parts };
    await transition(core, on, after, known, "report", { ...step, to: "failed", code, row });
  } else {
    // The status may come after the next part was asked for; then that one stays granted.
    const current = status.part === intent.part;
    const row = current ? { ...said, part, askId: null } : said;
    const audit = { ...step.audit, part: status.part, parts, said: true };
    await transition(core, on, after, intent, "report", { ...step, to: "attempting", row, audit });
  }
}

function counts(intent: Intent, status: DeliveryStatus): boolean {
  if (status.attempt > intent.attempt) return false;
  if (status.status === "delivered" || status.status === "read") return true;
  if (status.status !== "sent") return status.attempt === intent.attempt;
  // Only what was granted, or is next where daemons do not ask, can have been said.
  return status.part <= intent.part;
}

function withId(intent: Intent, status: DeliveryStatus): string[] {
  const ids = [...intent.remote_ids];
  ids[status.part] = status.remote_id ?? "";
  return Array.from(ids, (id) => id ?? "");
}

/** The daemon did not say it: the lane waits as long as it asks for. */
export async function deferIntent(
  core: Core,
  on: Queryable,
  after: AfterCommit,
  envelope: Envelope,
  deferred: Deferred,
): Promise<void> {
  const intent = await reportable(on, envelope, deferred.intent_id);
  if (intent === undefined || intent.attempt !== deferred.attempt) return;
  // A granted part is in doubt to everyone but the holder that was granted it and says it did not write.
  if (inDoubt(intent) && Number(intent.ask_epoch) !== envelope.metadata.epoch) return;
  // Both times are the daemon's, so that its clock does not matter.
  const askedMs = Date.parse(deferred.until) - Date.parse(envelope.occurred_at);
  const waitMs = Math.max(askedMs, leastWaitMs(deferred.attempt));
  const queued = await transition(core, on, after, intent, "deferral", {
    to: "queued",
    actor: envelope.metadata.issuer,
    detail: deferred.reason,
    row: { askId: null },
    audit: { attempt: deferred.attempt, wait_ms: waitMs },
  });
  if (queued !== undefined) await postpone(on, [intent.id], new Date(core.now().getTime() + waitMs));
}

const FREE_ATTEMPTS = 20;
const FIRST_WAIT_MS = 100;
const MAX_LEAST_WAIT_MS = 60_000;

/**
 * How long a lane waits at least: each time is a row, a step and an entry of the audit, so a daemon that puts
 * everything off at once must not go round as fast as it can.
 */
export function leastWaitMs(attempt: number): number {
  const over = attempt - FREE_ATTEMPTS;
  return over <= 0 ? 0 : Math.min(MAX_LEAST_WAIT_MS, FIRST_WAIT_MS * 2 ** Math.min(over, 20));
}

/** Only the instance that serves the identity reports of its intents; `admit` checked that it does. */
async function reportable(on: Queryable, envelope: Envelope, intentId: string): Promise<Intent | undefined> {
  const intent = await lockIntent(on, intentId);
  if (intent?.workspace_id !== envelope.metadata.workspace_id) return undefined;
  return intent.identity_id === envelope.metadata.identity_id && intent.service === envelope.service
    ? intent
    : undefined;
}

/**
 * What daemons report on intents: it was said, it was not, nobody knows, or not now. Reports on many intents, and
 * several on one, are applied together, each as if it came alone and in the given order.
 *
 * A report names the attempt that it is about. That a part was said is true whichever attempt said it; that it
 * failed, is unknown or must wait counts for the current attempt only, because a later one has its own report.
 */
import { isDeepStrictEqual } from "node:util";
import type { Deferred, DeliveryStatus, DeliveryStatuses, Envelope } from "@linkspan/envelopes";
import { lockIntents, type Queryable, type StandingIntent } from "@linkspan/store";
import type { AfterCommit } from "../after-commit.ts";
import type { Core } from "../core.ts";
import { inDoubt } from "./states.ts";
import { Moves } from "./transition.ts";

/** One report of an envelope. */
export type Report = Reporter &
  (
    | { readonly status: DeliveryStatus; readonly deferred?: never }
    | { readonly deferred: Deferred; readonly status?: never }
  );

interface Reporter {
  /** Its idempotency key, as the daemon wrote it. */
  readonly messageId: string;
  readonly issuer: string;
  readonly epoch: number | undefined;
  readonly workspaceId: string;
  readonly identityId: string | undefined;
  readonly service: string;
  readonly occurredAt: string;
}

/** The reports in an envelope of a `delivery_status`, `delivery_statuses` or `deferred`, in their order. */
export function reportsIn(envelope: Envelope): Report[] {
  const { metadata, payload, service, occurred_at } = envelope;
  const reporter: Reporter = {
    messageId: metadata.message_id,
    issuer: metadata.issuer,
    epoch: metadata.epoch,
    workspaceId: metadata.workspace_id,
    identityId: metadata.identity_id,
    service,
    occurredAt: occurred_at,
  };
  if ("statuses" in payload) {
    return (payload as DeliveryStatuses).statuses.map(({ message_id, identity_id, ...status }) => ({
      ...reporter,
      messageId: message_id,
      identityId: identity_id,
      status,
    }));
  }
  if ("until" in payload) return [{ ...reporter, deferred: payload as Deferred }];
  return [{ ...reporter, status: payload as DeliveryStatus }];
}

/** Locks lanes of the outbox, so call it last in a transaction. */
export async function followReports(
  core: Core,
  on: Queryable,
  after: AfterCommit,
  reports: readonly Report[],
): Promise<void> {
  if (reports.length === 0) return;
  const named = reports.map(({ status, deferred, workspaceId }) => ({
    id: (status ?? deferred).intent_id,
    workspaceId,
  }));
  const locked: readonly StandingIntent[] = await lockIntents(on, named);
  const intents = new Map(locked.map((intent) => [intent.id, intent]));
  const moves = new Moves(core, after);
  for (const report of reports) {
    const intent = intents.get((report.status ?? report.deferred).intent_id);
    if (intent === undefined || !isOf(intent, report)) continue;
    const moved =
      report.status === undefined
        ? defer(moves, intent, report, report.deferred)
        : follow(moves, intent, report, report.status);
    if (moved !== undefined) intents.set(intent.id, moved);
  }
  await moves.write(on);
}

/** Only the instance that serves the identity reports on its intents; `admit` checked that it does. */
function isOf(intent: StandingIntent, report: Report): boolean {
  return (
    intent.workspace_id === report.workspaceId &&
    intent.identity_id === report.identityId &&
    intent.service === report.service
  );
}

function follow(
  moves: Moves,
  intent: StandingIntent,
  { issuer }: Report,
  status: DeliveryStatus,
): StandingIntent | undefined {
  if (!counts(intent, status)) return undefined;
  const step = {
    actor: issuer,
    code: status.code,
    detail: status.detail,
    audit: { attempt: status.attempt },
  };
  if (status.status === intent.state) return undefined;
  if (status.status !== "sent") return moves.move(intent, "report", { ...step, to: status.status });
  const parts = intent.parts ?? status.parts;
  const said = { parts, remoteIds: withId(intent, status) };
  const part = status.part + 1;
  if (part >= parts) return moves.move(intent, "report", { ...step, to: "sent", row: { ...said, part } });
  if (intent.state === "uncertain" && status.part < intent.part) {
    // A later part is in doubt, and stays so.
    if (isDeepStrictEqual(said.remoteIds, intent.remote_ids)) return undefined;
    const audit = { ...step.audit, part: status.part, parts, said: true };
    const { code, detail } = intent;
    const known = { ...step, code: code ?? undefined, detail: detail ?? undefined, row: said, audit };
    return moves.move(intent, "report", { ...known, to: "uncertain" });
  }
  if (intent.state === "uncertain") {
    // Its lane has moved on: what was in doubt is known now, and the rest will not be said.
    const row = { ...said, part: Math.max(part, intent.part) };
    const code = "send.incomplete";
    const known = { ...intent, part: row.part, parts };
    return moves.move(known, "report", { ...step, to: "failed", code, row });
  }
  // The status may come after the next part was asked for; then that one stays granted.
  const current = status.part === intent.part;
  const row = current ? { ...said, part, askId: null } : said;
  const audit = { ...step.audit, part: status.part, parts, said: true };
  return moves.move(intent, "report", { ...step, to: "attempting", row, audit });
}

function counts(intent: StandingIntent, status: DeliveryStatus): boolean {
  if (status.attempt > intent.attempt) return false;
  if (status.status === "delivered" || status.status === "read") return true;
  if (status.status !== "sent") return status.attempt === intent.attempt;
  // Only what was granted, or is next where daemons do not ask, can have been said.
  return status.part <= intent.part;
}

function withId(intent: StandingIntent, status: DeliveryStatus): string[] {
  const ids = [...intent.remote_ids];
  ids[status.part] = status.remote_id ?? "";
  return Array.from(ids, (id) => id ?? "");
}

/** The daemon did not say it: the lane waits as long as it asks for. */
function defer(
  moves: Moves,
  intent: StandingIntent,
  { issuer, epoch, occurredAt }: Report,
  deferred: Deferred,
): StandingIntent | undefined {
  if (intent.attempt !== deferred.attempt) return undefined;
  // A granted part is in doubt to everyone but the holder that was granted it and says it did not write.
  if (inDoubt(intent) && Number(intent.ask_epoch) !== epoch) return undefined;
  // Both times are the daemon's, and the database adds the difference to its own: nobody else's clock matters.
  const askedMs = Date.parse(deferred.until) - Date.parse(occurredAt);
  const waitMs = Math.max(askedMs, leastWaitMs(deferred.attempt));
  const queued = moves.move(intent, "deferral", {
    to: "queued",
    actor: issuer,
    detail: deferred.reason,
    row: { askId: null },
    audit: { attempt: deferred.attempt, wait_ms: waitMs },
  });
  if (queued !== undefined) moves.postpone(intent.id, waitMs);
  return queued;
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

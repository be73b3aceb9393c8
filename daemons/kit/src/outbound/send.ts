/**
 * One intent, from its delivery to its settlement.
 *
 * ticket → connected? → planned → each part said (part.ts), its status confirmed before the next begins. The
 * delivery is settled only after that. Whatever cannot be said now is `deferred` and settled: the core holds the
 * conversation and publishes again. Nothing is kept here but what this process said (memory.ts).
 */
import { CODES, FabricError, isFabricError, type KeyRing, type Opened } from "@linkspan/envelopes";
import { ACK, type Decision, type Outgoing } from "@linkspan/fabric";
import { backoffMs } from "@linkspan/time";
import type { Logger } from "pino";
import type { Author } from "../bus/author.ts";
import type { Clock } from "../shared/clock.ts";
import type { Part } from "../connector.ts";
import type { GuardedConnection, ConnectionSupervisor } from "../identity/connection-supervisor.ts";
import { soundParts } from "../shared/checks.ts";
import { Answers } from "./answers.ts";
import type { Asks } from "./asks.ts";
import { outboundOf, partKey, proveTicket } from "./intent.ts";
import type { Memory } from "./memory.ts";
import { type PartEnd, sayPart } from "./part.ts";
import type { Reports } from "./reports.ts";

export interface SendContext {
  readonly keys: KeyRing;
  readonly kid: string;
  readonly author: Author;
  readonly asks: Asks;
  readonly reports: Reports;
  readonly publish: (message: Outgoing) => Promise<void>;
  readonly supervisorOf: (identityId: string) => ConnectionSupervisor | undefined;
  readonly memory: Memory;
  readonly clock: Clock;
  readonly log: Logger;
  /** Whether the instance is held this very moment. */
  readonly isHeld: () => boolean;
  /** Until when it is, on the monotonic clock; a renewal moves it. */
  readonly heldUntilMs: () => number;
  readonly signal: AbortSignal;
}

/** How long a connection on its way up is waited for; a longer wait is the core's to do. */
const LONGEST_WAIT_MS = 2_000;
/** A ticket that is not valid yet is asked for again after this: its time may be a matter of a wrong clock. */
const LONGEST_TICKET_WAIT_MS = 5_000;
/** How long before an intent's time a platform is searched for it, milliseconds: clocks differ. */
const SEARCH_MARGIN_MS = 5 * 60_000;

/**
 * @param attempt which publish of the intent it is, from 1
 * @throws whatever ended the term; then nothing is settled
 */
export async function sendIntent(opened: Opened, attempt: number, context: SendContext): Promise<Decision> {
  const { metadata } = opened.envelope;
  const answers = new Answers(opened.envelope, attempt, context);
  try {
    const { keys, kid, author, clock } = context;
    await proveTicket(opened, { keys, kid, daemon: author.issuer, now: clock.now() });
  } catch (error) {
    if (!isFabricError(error)) throw error;
    return refuseTicket(error, answers, context);
  }
  const supervisor = context.supervisorOf(metadata.identity_id ?? "");
  await supervisor?.up(LONGEST_WAIT_MS, context.signal);
  context.signal.throwIfAborted();
  const absent = absence(supervisor, attempt, context.clock);
  const open = supervisor?.connection;
  if (supervisor === undefined || open === undefined || absent !== undefined) {
    return settleEnd(absent ?? UNAVAILABLE, 0, 1, answers, context);
  }
  let parts: readonly Part[];
  try {
    parts = soundParts(open.barrier.callNow(() => open.connection.plan(outboundOf(opened))));
  } catch (error) {
    return settleEnd({ kind: "failed", error: planError(error) }, 0, 1, answers, context);
  }
  if (parts.length === 0) {
    const error = new FabricError("request.invalid", "there is nothing in it that the platform could carry");
    return settleEnd({ kind: "failed", error }, 0, 1, answers, context);
  }
  await supervisor.sendSlots.enter(context.signal);
  try {
    return await sayAll(opened, attempt, parts, supervisor, answers, context);
  } finally {
    supervisor.sendSlots.leave();
  }
}

async function sayAll(
  opened: Opened,
  attempt: number,
  parts: readonly Part[],
  supervisor: ConnectionSupervisor,
  answers: Answers,
  context: SendContext,
): Promise<Decision> {
  const { metadata, occurred_at } = opened.envelope;
  for (const part of parts) {
    const end = await sayPart(part, {
      ...context,
      pace: supervisor.pace,
      connection: () => whenUp(supervisor),
      intentId: metadata.message_id,
      workspaceId: metadata.workspace_id,
      attempt,
      parts: parts.length,
      key: partKey(metadata.message_id, part.index),
      since: new Date(Date.parse(occurred_at) - SEARCH_MARGIN_MS),
    });
    if (end.kind === "known") continue;
    const verdict = await settleEnd(end, part.index, parts.length, answers, context);
    if (end.kind !== "said") return verdict;
  }
  return ACK;
}

/** Tells the core how a part ended; resolves when that is confirmed. */
async function settleEnd(
  end: PartEnd,
  part: number,
  parts: number,
  answers: Answers,
  { clock }: SendContext,
): Promise<Decision> {
  switch (end.kind) {
    case "said":
      await answers.sent(part, parts, end.said);
      break;
    case "failed":
      await answers.failed(part, parts, end.error.code, end.error.message);
      break;
    case "uncertain":
      await answers.uncertain(part, parts);
      break;
    case "later":
      await answers.deferred(new Date(clock.now().getTime() + end.afterMs), end.code);
      break;
    case "known":
    case "stopped":
      break;
  }
  return ACK;
}

async function refuseTicket(error: FabricError, answers: Answers, context: SendContext): Promise<Decision> {
  const { log, clock } = context;
  log.warn({ event: "ticket.refused", code: error.code, err: error });
  // A queue was slow, or a clock is wrong: the intent itself is good.
  const waitMs = error.code === "ticket.expired" ? 0 : error.retryAfterMs;
  if (waitMs !== undefined) {
    const afterMs = Math.min(waitMs, LONGEST_TICKET_WAIT_MS);
    await answers.deferred(new Date(clock.now().getTime() + afterMs), error.code);
    return ACK;
  }
  await answers.failed(0, 1, error.code, error.message);
  return { do: "dead", code: error.code, detail: error.message };
}

const UNAVAILABLE: PartEnd = { kind: "later", afterMs: 1_000, code: "platform.unavailable" };

/** Why nothing can be said now, if so. A login that only its owner can mend fails at once, so that they see it. */
function absence(
  supervisor: ConnectionSupervisor | undefined,
  attempt: number,
  clock: Clock,
): PartEnd | undefined {
  if (supervisor === undefined) return UNAVAILABLE;
  if (supervisor.isUp) return undefined;
  const { state, retryAt } = supervisor.state;
  if (state === "bad_credentials" || state === "logged_out") {
    const error = new FabricError("platform.auth_expired", CODES["platform.auth_expired"].help);
    return { kind: "failed", error };
  }
  const untilRetryMs = (retryAt?.getTime() ?? 0) - clock.now().getTime();
  const afterMs = Math.max(untilRetryMs, backoffMs({ minMs: 1_000, maxMs: 15_000 }, attempt));
  return { kind: "later", afterMs, code: "platform.unavailable" };
}

function whenUp(supervisor: ConnectionSupervisor): GuardedConnection | undefined {
  return supervisor.isUp ? supervisor.connection : undefined;
}

/** `plan` is pure: what it throws is about the action, and saying it again would not help. */
function planError(error: unknown): FabricError {
  if (!isFabricError(error))
    return new FabricError("internal", "the action could not be planned", { cause: error });
  if (error.code !== "platform.unsupported") return error;
  return new FabricError("action.unsupported", error.message, { cause: error });
}

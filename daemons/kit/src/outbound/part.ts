/**
 * Saying one part, at most once.
 *
 *   wait for the pace → ask `attempt` → go: perform inside the window → said
 *                                     → sent: it was said before
 *                                     → uncertain: look on the platform
 *                                     → stop: leave it
 *
 * The window is measured on the monotonic clock from before the question was first sent. What fails inside it
 * for certain may be tried again inside it; what fails without certainty is looked for on the platform, which
 * proves its absence only once the window is over. A part that this process touched is never touched again.
 */
import { type AttemptReply, CODES, FabricError, isFabricError } from "@linkspan/envelopes";
import { backoffMs, childOf, end } from "@linkspan/time";
import { type Clock, pause } from "../shared/clock.ts";
import type { Part, Said } from "../connector.ts";
import type { GuardedConnection } from "../identity/connection-supervisor.ts";
import { soundMs, soundSaid } from "../shared/checks.ts";
import type { Asks } from "./asks.ts";
import type { Memory, Outcome } from "./memory.ts";
import type { Pace } from "./pace.ts";
import { GRACE_MS, SendWindow } from "./send-window.ts";

export type PartEnd =
  | { readonly kind: "said"; readonly said: Said }
  /** The core knows already. */
  | { readonly kind: "known" }
  | { readonly kind: "stopped" }
  | { readonly kind: "failed"; readonly error: FabricError }
  | { readonly kind: "uncertain" }
  /** Certainly not said; may be said later. */
  | { readonly kind: "later"; readonly afterMs: number; readonly code: FabricError["code"] };

export interface PartContext {
  readonly asks: Pick<Asks, "ask">;
  readonly clock: Clock;
  readonly memory: Memory;
  readonly pace: Pace;
  readonly connection: () => GuardedConnection | undefined;
  readonly isHeld: () => boolean;
  readonly heldUntilMs: () => number;
  readonly signal: AbortSignal;
  readonly intentId: string;
  readonly workspaceId: string;
  readonly attempt: number;
  readonly parts: number;
  readonly key: string;
  readonly since: Date;
}

/** A wait longer than this is the core's to do. */
const LONGEST_WAIT_MS = 2_000;
/** The last moment of a window is not used: a write takes time to leave. */
const MARGIN_MS = 250;
/** How long a platform may take to tell whether something was said. */
const FIND_WITHIN_MS = 60_000;

export async function sayPart(part: Part, context: PartContext): Promise<PartEnd> {
  const { pace, memory, key, clock, signal } = context;
  if (context.connection() === undefined)
    return later("platform.unavailable", backoffMs(LATER, context.attempt));
  const waitMs = pace.delayMs(part.cost);
  if (waitMs > LONGEST_WAIT_MS) return { kind: "later", afterMs: waitMs, code: "platform.rate_limited" };
  pace.take(part.cost);
  if (waitMs > 0) await clock.sleep(waitMs, signal);
  const { intentId, attempt, parts } = context;
  const ask = { intent_id: intentId, attempt, part: part.index, parts };
  const { answer, askedMs } = await context.asks.ask(context.workspaceId, ask);
  const known = memory.recall(key);
  if (answer?.decision === "go" && mayTouch(known)) {
    const end = await insideWindow(part, askedMs + (answer.window_ms ?? 0) - MARGIN_MS, context);
    remember(context, end);
    return end;
  }
  pace.giveBack(part.cost);
  if (answer === undefined) {
    if (known?.kind === "said") return known;
    const end = later("bus.timeout", backoffMs(LATER, context.attempt));
    // What is known of it stays known: the core may grant it again.
    if (known === undefined) remember(context, end);
    return end;
  }
  if (answer.decision === "sent") return { kind: "known" };
  if (answer.decision === "stop") return { kind: "stopped" };
  return inDoubt(part, answer, askedMs, context);
}

/** What was said or may have been is never said again; what certainly was not may be, when the core says `go`. */
function mayTouch(known: Outcome | undefined): boolean {
  return known === undefined || known.kind === "unsaid" || known.kind === "refused";
}

/** Performs until it is said, certainly refused, or in doubt. */
async function insideWindow(part: Part, untilMs: number, context: PartContext): Promise<PartEnd> {
  const { clock, signal, connection } = context;
  for (let tries = 1; ; tries++) {
    const live = connection();
    if (!context.isHeld()) throw new FabricError("lease.lost", "the instance is not held any more");
    if (clock.monotonicMs() >= untilMs) return later("bus.timeout", 0);
    if (live === undefined) return later("platform.unavailable", backoffMs(LATER, context.attempt));
    try {
      return { kind: "said", said: await perform(live, part, untilMs, context) };
    } catch (error) {
      signal.throwIfAborted();
      if (!isFabricError(error)) return searched(part, live, untilMs, context);
      if (CODES[error.code].retry === "never") return { kind: "failed", error };
      const waitMs = soundMs(error.retryAfterMs) ?? backoffMs({ minMs: 250, maxMs: 4_000 }, tries);
      if (clock.monotonicMs() + waitMs >= untilMs) return later(error.code, waitMs);
      await clock.sleep(waitMs, signal);
    }
  }
}

/** One call of the connector, with a window that closes by itself. @throws UncertainSend when it overran */
async function perform(
  { connection, barrier }: GuardedConnection,
  part: Part,
  untilMs: number,
  { clock, signal, key, memory, heldUntilMs }: PartContext,
): Promise<Said> {
  using window = new SendWindow(untilMs, heldUntilMs, clock, signal);
  memory.remember(key, { kind: "doubtful" });
  const performed = barrier.call(() => connection.perform(part, key, window));
  performed.catch(() => undefined);
  return soundSaid(await Promise.race([performed, window.overrun]), key, clock.now());
}

/** It may have been said: looks at once and, if it is not there, again when nothing can be on its way any more. */
async function searched(
  part: Part,
  open: GuardedConnection,
  untilMs: number,
  context: PartContext,
): Promise<PartEnd> {
  const { clock, signal } = context;
  if (open.connection.find === undefined) return { kind: "uncertain" };
  const early = await find(open, part, context);
  if (early.kind !== "absent") return early;
  const restMs = untilMs + MARGIN_MS + GRACE_MS - clock.monotonicMs();
  if (restMs > 0) await clock.sleep(restMs, signal);
  const late = await find(open, part, context);
  return late.kind === "absent" ? later("platform.unavailable", backoffMs(LATER, context.attempt)) : late;
}

/** The core does not know how a granted part ended. */
async function inDoubt(
  part: Part,
  answer: AttemptReply,
  askedMs: number,
  context: PartContext,
): Promise<PartEnd> {
  const known = context.memory.recall(context.key);
  if (known?.kind === "said") return known;
  if (known?.kind === "refused")
    return { kind: "failed", error: new FabricError(known.code, "the platform refused it before") };
  // The core heard nothing of it yet: put off it stays, so that the core queues it again.
  if (known?.kind === "unsaid") return later(known.code, backoffMs(LATER, context.attempt));
  const open = context.connection();
  if (open?.connection.find === undefined) return { kind: "uncertain" };
  const untilMs = askedMs + (answer.window_ms ?? 0);
  const end = answer.window_ms === undefined ? await find(open, part, context) : undefined;
  if (end === undefined) return searched(part, open, untilMs, context);
  return end.kind === "absent" ? { kind: "uncertain" } : end;
}

async function find(
  { connection, barrier }: GuardedConnection,
  part: Part,
  { key, since, signal, clock }: PartContext,
): Promise<PartEnd | { readonly kind: "absent" }> {
  const over = childOf(signal);
  const late = pause(clock, FIND_WITHIN_MS, over.signal).then((): never => {
    throw new FabricError("platform.unavailable", "the platform did not tell in time");
  });
  try {
    const found = barrier.call(() => connection.find?.(part, key, since));
    const said = await Promise.race([found, late]);
    return said === undefined
      ? { kind: "absent" }
      : { kind: "said", said: soundSaid(said, key, clock.now()) };
  } catch {
    // A platform that cannot be asked tells nothing.
    signal.throwIfAborted();
    return { kind: "uncertain" };
  } finally {
    late.catch(() => undefined);
    end(over);
  }
}

const LATER = { minMs: 1_000, maxMs: 15_000 } as const;

function later(code: FabricError["code"], afterMs: number): PartEnd {
  return { kind: "later", afterMs, code };
}

function remember({ memory, key }: PartContext, end: PartEnd): void {
  if (end.kind === "said") memory.remember(key, end);
  else if (end.kind === "uncertain") memory.remember(key, { kind: "doubtful" });
  else if (end.kind === "later") memory.remember(key, { kind: "unsaid", code: end.code });
  else if (end.kind === "failed") memory.remember(key, { kind: "refused", code: end.error.code });
}

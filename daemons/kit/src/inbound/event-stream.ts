/**
 * The ordered inbound stream of one identity.
 *
 * An event *waits* until there is room (its connector stops reading meanwhile), is *sent* and unconfirmed,
 * then *confirmed* by the bus, and finally *acknowledged* by the core. When every event up to one with a
 * cursor is acknowledged, that cursor is the checkpoint: reading starts there after a crash.
 *
 * There are two bounds: `maxUnconfirmed` limits the events that the bus has not confirmed; `maxPending` and
 * `maxPendingBytes` limit those that the core has not acknowledged.
 *
 * After a failed publish the stream sends nothing until every publish in progress has ended. The failed
 * events are then published again, in order, before any newer event.
 *
 * Acknowledgements may be lost (they expire, and nobody repeats them). An event that is not acknowledged
 * within `askAgainAfterMs` is published again: the core drops the duplicate and acknowledges it again. While
 * there is still no answer, only the oldest event is repeated, with growing delays; after an answer the
 * others follow.
 */
import type { Outgoing } from "@linkspan/fabric";
import { backoffMs } from "@linkspan/time";
import type { Logger } from "pino";
import type { Clock } from "../shared/clock.ts";
import type { PlatformEvent } from "../connector.ts";

export type Cursor = Readonly<Record<string, unknown>>;

export interface EventStreamOptions {
  readonly publish: (message: Outgoing) => Promise<void>;
  readonly onCheckpoint: (cursor: Cursor) => void;
  readonly clock: Clock;
  /** Aborted when the lease is lost: nothing more is sent, and waiting callers reject with its reason. */
  readonly signal: AbortSignal;
  readonly log: Logger;
  readonly maxUnconfirmed?: number;
  readonly maxPending?: number;
  readonly maxPendingBytes?: number;
  readonly askAgainAfterMs?: number;
}

interface Entry {
  readonly message: Outgoing;
  readonly cursor: Cursor | undefined;
  readonly source: PlatformEvent | undefined;
  state: "sent" | "confirmed" | "failed";
  acknowledged: boolean;
  sentAtMs: number;
}

interface Waiting {
  readonly entry: Entry;
  readonly resolve: () => void;
  readonly reject: (reason: unknown) => void;
}

const REPEAT_AT_ONCE = 64;
const SLOWEST_REPEAT_MS = 15 * 60_000;

export class EventStream {
  readonly #options: Required<EventStreamOptions>;
  readonly #waiting: Waiting[] = [];
  readonly #byId = new Map<string, Entry[]>();
  /** Unacknowledged events, and those behind one; oldest first. */
  readonly #pending: Entry[] = [];
  #pendingBytes = 0;
  #unconfirmed = 0;
  #halted = false;
  #cursor: Cursor | undefined;
  #repeats = 0;
  #answered = true;
  /** The event still waited for room when the stream was aborted. */
  readonly #abandoned: Entry[] = [];
  readonly #idle: (() => void)[] = [];
  readonly #empty: (() => void)[] = [];

  constructor(options: EventStreamOptions) {
    this.#options = {
      maxUnconfirmed: 256,
      maxPending: 4_096,
      maxPendingBytes: 8 * 1_048_576,
      askAgainAfterMs: 75_000,
      ...options,
    };
    options.signal.addEventListener("abort", () => this.#abandon(), { once: true });
  }

  /** The last checkpoint of this stream. */
  get cursor(): Cursor | undefined {
    return this.#cursor;
  }

  get pending(): number {
    return this.#pending.length;
  }

  /**
   * Resolves once the event has a place in the window. Events keep the order of the calls.
   *
   * @param source what the message was made of, for {@link left}
   */
  put(message: Outgoing, cursor: Cursor | undefined, source?: PlatformEvent): Promise<void> {
    const { signal } = this.#options;
    if (signal.aborted) return Promise.reject(signal.reason as Error);
    const entry: Entry = { message, cursor, source, state: "sent", acknowledged: false, sentAtMs: 0 };
    if (this.#waiting.length === 0 && this.#hasRoom()) {
      this.#admit(entry);
      return Promise.resolve();
    }
    return new Promise((resolve, reject) => this.#waiting.push({ entry, resolve, reject }));
  }

  /** The core has the event, stored or in quarantine. */
  acknowledged(messageId: string): void {
    const entries = this.#byId.get(messageId);
    if (entries === undefined) return;
    for (const entry of entries) entry.acknowledged = true;
    this.#byId.delete(messageId);
    this.#repeats = 0;
    this.#answered = true;
    this.#trim();
    this.#pump();
  }

  /** Publishes events again that have been unacknowledged for too long; call it every few seconds. */
  askAgain(): void {
    const { clock, askAgainAfterMs, log } = this.#options;
    const nowMs = clock.monotonicMs();
    const patienceMs = Math.min(askAgainAfterMs * 2 ** this.#repeats, SLOWEST_REPEAT_MS);
    const stale = this.#pending
      .slice(0, this.#answered ? REPEAT_AT_ONCE : 1)
      .filter((entry) => entry.state === "confirmed" && !entry.acknowledged)
      .filter((entry) => nowMs - entry.sentAtMs >= patienceMs);
    if (stale.length === 0 || this.#halted) return;
    log.warn({ event: "event.repeated", count: stale.length, pending: this.#pending.length });
    this.#answered = false;
    this.#repeats += 1;
    for (const entry of stale) this.#send(entry);
  }

  /** Resolves when the bus has confirmed every event, or the stream is aborted. */
  confirmed(): Promise<void> {
    if (this.#isIdle()) return Promise.resolve();
    return new Promise((resolve) => this.#idle.push(resolve));
  }

  /** Resolves when the core has acknowledged every event, or the stream is aborted. */
  acknowledgedAll(): Promise<void> {
    if (this.#pending.length === 0 || this.#options.signal.aborted) return Promise.resolve();
    return new Promise((resolve) => this.#empty.push(resolve));
  }

  /** The events that were handed over and are not acknowledged, oldest first. */
  left(): PlatformEvent[] {
    return [...this.#pending, ...this.#abandoned]
      .filter(({ acknowledged }) => !acknowledged)
      .map(({ source }) => source)
      .filter((source) => source !== undefined);
  }

  #hasRoom(): boolean {
    const { maxUnconfirmed, maxPending, maxPendingBytes } = this.#options;
    return (
      !this.#halted &&
      this.#unconfirmed < maxUnconfirmed &&
      this.#pending.length < maxPending &&
      this.#pendingBytes < maxPendingBytes
    );
  }

  #admit(entry: Entry): void {
    this.#pending.push(entry);
    this.#pendingBytes += entry.message.body.byteLength;
    const twins = this.#byId.get(entry.message.messageId);
    if (twins === undefined) this.#byId.set(entry.message.messageId, [entry]);
    else twins.push(entry);
    this.#send(entry);
  }

  #send(entry: Entry): void {
    const { publish, clock } = this.#options;
    entry.state = "sent";
    entry.sentAtMs = clock.monotonicMs();
    this.#unconfirmed += 1;
    publish(entry.message).then(
      () => this.#settled(entry, "confirmed", undefined),
      (error: unknown) => this.#settled(entry, "failed", error),
    );
  }

  #settled(entry: Entry, state: "confirmed" | "failed", error: unknown): void {
    const { signal, log } = this.#options;
    this.#unconfirmed -= 1;
    entry.state = state;
    if (signal.aborted) return;
    if (state === "failed" && !entry.acknowledged) {
      this.#halted = true;
      log.warn({ event: "event.unpublished", message_id: entry.message.messageId, err: error });
    }
    if (!this.#halted) this.#pump();
    else if (this.#unconfirmed === 0) void this.#recover();
  }

  async #recover(): Promise<void> {
    const { publish, clock, signal, log } = this.#options;
    let failures = 0;
    for (const entry of this.#pending.filter((each) => each.state === "failed")) {
      while (!signal.aborted && !entry.acknowledged && entry.state === "failed") {
        try {
          await clock.sleep(backoffMs({ minMs: 100, maxMs: 10_000 }, failures + 1), signal);
          await publish(entry.message);
          entry.state = "confirmed";
          entry.sentAtMs = clock.monotonicMs();
          failures = 0;
        } catch (error) {
          failures += 1;
          if (!signal.aborted) log.warn({ event: "event.unpublished", failures, err: error });
        }
      }
    }
    if (signal.aborted) return;
    this.#halted = false;
    this.#pump();
  }

  #trim(): void {
    let done = 0;
    let cursor: Cursor | undefined;
    for (const entry of this.#pending) {
      if (!entry.acknowledged) break;
      done += 1;
      this.#pendingBytes -= entry.message.body.byteLength;
      cursor = entry.cursor ?? cursor;
    }
    this.#pending.splice(0, done);
    if (this.#pending.length === 0) wake(this.#empty);
    if (cursor === undefined || this.#options.signal.aborted) return;
    this.#cursor = cursor;
    this.#options.onCheckpoint(cursor);
  }

  #pump(): void {
    while (this.#hasRoom()) {
      const next = this.#waiting.shift();
      if (next === undefined) break;
      this.#admit(next.entry);
      next.resolve();
    }
    if (this.#isIdle()) wake(this.#idle);
  }

  #isIdle(): boolean {
    if (this.#options.signal.aborted) return true;
    return this.#unconfirmed === 0 && this.#waiting.length === 0 && !this.#halted;
  }

  #abandon(): void {
    for (const { entry, reject } of this.#waiting.splice(0)) {
      this.#abandoned.push(entry);
      reject(this.#options.signal.reason);
    }
    wake(this.#idle);
    wake(this.#empty);
  }
}

function wake(waiting: (() => void)[]): void {
  for (const resolve of waiting.splice(0)) resolve();
}

/**
 * How a subscription consumes, the same for every driver.
 *
 * Arrivals are gathered and prepared (stage.ts), then handled, one batch at a time. Each verdict settles
 * its delivery, holds its key for a retry (holds.ts), or until the handler decides (later.ts), or sends it to the
 * dead letters. A batch that is rejected
 * comes again whole, then in halves, before anything newer; what fails alone holds its key and is tried again,
 * at growing intervals, until it succeeds, or until the error is its own fault: by the table of codes, or because
 * that is proven (proof.ts). While the surroundings fail, all of it pauses.
 *
 * Losing the connection (`abandon`) forgets everything: the broker delivers it again, and what a handler
 * still decides about the old deliveries is dropped.
 */
import { blameOf, type ErrorCode } from "@linkspan/envelopes";
import { backoffMs, DEFAULT_PATIENCE, type Patience } from "../backoff.ts";
import type { Decision, Handler, StuckMessage, Verdict } from "../bus.ts";
import { within } from "../clock.ts";
import { Alone } from "./alone.ts";
import { DeadLettering } from "./dead-letters.ts";
import { EVERYTHING, Holds } from "./holds.ts";
import { Item, type MutableDelivery } from "./item.ts";
import { LaterDecisions } from "./later.ts";
import type { IntakeOptions } from "./options.ts";
import { Outages } from "./outages.ts";
import { type Piece, Pieces } from "./pieces.ts";
import { prepareItems, Stage } from "./stage.ts";

/** Shorter than a supervisor's patience with a process that is told to stop. */
const DRAIN_MS = 8_000;

export class Intake<P> {
  readonly #options: IntakeOptions<P>;
  readonly #patience: Patience;
  readonly #prepare: Handler<P>["prepare"];
  readonly #stage: Stage<P>;
  readonly #holds = new Holds<P>();
  readonly #pieces: Pieces<P>;
  readonly #outages: Outages;
  readonly #deadLettering: DeadLettering<P>;
  readonly #alone: Alone<P>;
  readonly #later: LaterDecisions<P>;
  readonly #closing = new AbortController();
  #session = 0;
  #arrivals = 0;
  #count = 0;
  #bytes = 0;
  #running: Promise<void> | undefined;
  #pausedUntil = Number.NEGATIVE_INFINITY;
  /** Batches in which something was handled successfully. */
  #successes = 0;
  #paused = false;
  #cancelAlarm: (() => void) | undefined;

  constructor(options: IntakeOptions<P>) {
    this.#options = options;
    this.#patience = options.patience ?? DEFAULT_PATIENCE;
    this.#outages = new Outages(this.#patience, options.random);
    this.#prepare = options.handler.prepare?.bind(options.handler);
    this.#deadLettering = new DeadLettering<P>({
      ...options,
      deadLetter: (item, death) => options.outlet.deadLetter(item, death),
      onSafe: (item) => this.#settle([item]),
      backoff: this.#patience.alone,
      closing: this.#closing.signal,
    });
    this.#alone = new Alone<P>({ ...options, patience: this.#patience });
    this.#stage = new Stage({
      prepare: this.#prepare,
      maxBatch: options.limits.maxBatch,
      lingerMs: options.limits.lingerMs,
      clock: options.clock,
      onReady: () => this.#kick(),
    });
    this.#later = new LaterDecisions<P>({
      clock: options.clock,
      onDecided: (items, decisions) => this.#decided(items, decisions),
      onFailed: (item, error) => this.#failedLater(item, error),
    });
    this.#pieces = new Pieces(this.#stage, this.#holds, options.limits.maxBatch);
  }

  /** Deliveries held and their bytes, from `push` to settlement. */
  get count(): number {
    return this.#count;
  }
  get bytes(): number {
    return this.#bytes;
  }

  /** Messages that fail alone again and again. */
  get stuck(): readonly StuckMessage[] {
    return this.#alone.stuck(this.#options.clock.now());
  }

  /** A person's decision about a stuck message: to the dead letters. @returns false when it is not stuck here */
  giveUp(messageId: string): boolean {
    const item = this.#alone.find(messageId);
    if (item === undefined || !this.#options.deadLetters || !this.#holds.remove(item)) return false;
    const detail = `given up by an operator after ${item.failures?.alone ?? 0} failures`;
    this.#deadLetter(item, { code: "internal", detail });
    this.#kick();
    return true;
  }

  /** Whether another delivery of that size keeps the bounds; a single one always fits. */
  fits(bytes: number): boolean {
    const { maxInFlight, maxBytes } = this.#options.limits;
    return this.#count === 0 || (this.#count < maxInFlight && this.#bytes + bytes <= maxBytes);
  }

  push(delivery: MutableDelivery, tag: number): void {
    if (this.#closing.signal.aborted) return;
    this.#count++;
    this.#bytes += delivery.body.length;
    this.#stage.push(new Item<P>(delivery, tag, this.#arrivals++));
  }

  /** Sends a message that the driver cannot use to the dead letters, without the handler. */
  refuse(delivery: MutableDelivery, tag: number, code: ErrorCode, detail: string): void {
    if (this.#closing.signal.aborted) return;
    this.#count++;
    this.#bytes += delivery.body.length;
    this.#deadLetter(new Item<P>(delivery, tag, this.#arrivals++), { code, detail });
  }

  /** Resolves between two batches; nothing is handled until the function that it gives is called. */
  async pause(): Promise<() => void> {
    this.#paused = true;
    await this.#running;
    return () => {
      this.#paused = false;
      this.#kick();
    };
  }

  /** The connection is gone: forgets all that it delivered. */
  abandon(): void {
    this.#session++;
    this.#count = 0;
    this.#bytes = 0;
    this.#stage.clear();
    this.#holds.clear();
    this.#pieces.clear();
    this.#alone.clear();
    this.#later.clear();
  }

  /**
   * Finishes the current batch, what is decided later and its dead letters, for at most eight seconds; the rest stays
   * unsettled, for the driver to give back.
   */
  async drain(): Promise<void> {
    const { clock, listener, queue } = this.#options;
    this.#closing.abort();
    this.#cancelAlarm?.();
    const finishing = Promise.resolve(this.#running)
      .then(() => this.#later.finished())
      .then(() => this.#deadLettering.finished());
    await within(clock, DRAIN_MS, "the current batch", finishing).catch((error: unknown) =>
      listener?.({ event: "bus.fault", queue, reason: String(error) }),
    );
    this.abandon();
  }

  #kick(): void {
    if (this.#running === undefined && !this.#paused && !this.#closing.signal.aborted)
      this.#running = this.#run();
  }

  async #run(): Promise<void> {
    await Promise.resolve(); // `#running` is set
    for (let piece = this.#next(); piece !== undefined; piece = this.#next()) await this.#work(piece);
    this.#running = undefined;
  }

  #next(): Piece<P> | undefined {
    this.#cancelAlarm?.();
    if (this.#paused || this.#closing.signal.aborted) return undefined;
    const now = this.#options.clock.now();
    if (now < this.#pausedUntil) return this.#alarm(this.#pausedUntil - now);
    const next = this.#pieces.next(now);
    if (next !== undefined) return next;
    const dueAt = this.#holds.nextDueAt();
    return dueAt === undefined ? undefined : this.#alarm(dueAt - now);
  }

  #alarm(afterMs: number): undefined {
    this.#cancelAlarm = this.#options.clock.after(Math.max(1, afterMs), () => this.#kick());
    return undefined;
  }

  async #work(piece: Piece<P>): Promise<void> {
    const session = this.#session;
    let batch = piece.items;
    try {
      if (piece.failure !== undefined) throw piece.failure.error;
      const raw = this.#prepare ? batch.filter((item) => !item.prepared) : [];
      if (raw.length > 0) await prepareItems(raw, this.#prepare);
      if (session !== this.#session) return;
      batch = this.#passable(batch);
      if (batch.length === 0) return;
      const verdicts = await this.#handle(batch);
      this.#outages.over();
      if (session === this.#session) this.#apply(batch, verdicts);
    } catch (error) {
      if (session === this.#session) this.#rejected({ items: batch, retried: piece.retried }, error);
    }
  }

  /** Without those whose key is held: they join their key. */
  #passable(batch: readonly Item<P>[]): readonly Item<P>[] {
    if (this.#holds.size === 0) return batch;
    return batch.filter((item) => {
      const held = this.#holds.blocking(this.#keyOf(item), item.order);
      if (held === undefined) return true;
      this.#holds.add(held, item, this.#options.clock.now());
      return false;
    });
  }

  async #handle(batch: readonly Item<P>[]): Promise<readonly Verdict[]> {
    for (const item of batch) item.delivery.attempt++;
    const { handler, observe } = this.#options;
    const run = (): Promise<readonly Verdict[]> => handler.handle(batch);
    const verdicts = observe === undefined ? await run() : await observe(batch, run);
    // Its failure counts where it is awaited, and nowhere when the connection was lost meanwhile.
    for (const verdict of verdicts) if (verdict.do === "later") verdict.decision.catch(() => undefined);
    if (verdicts.length !== batch.length) {
      throw new Error(`the handler answered ${verdicts.length} verdicts for ${batch.length} deliveries`);
    }
    return verdicts;
  }

  #apply(batch: readonly Item<P>[], verdicts: readonly Verdict[]): void {
    const done: Item<P>[] = [];
    let succeeded = false;
    for (let at = 0; at < batch.length; at++) {
      const item = batch[at] as Item<P>;
      const verdict = verdicts[at] as Verdict;
      if (verdict.do === "ack") {
        done.push(item);
        succeeded = true;
      } else if (verdict.do === "retry") this.#hold(item, verdict.afterMs);
      else if (verdict.do === "later") {
        this.#holds.add(this.#keyOf(item), item, Number.POSITIVE_INFINITY);
        this.#later.await(item, verdict.decision);
      } else if (this.#options.deadLetters) this.#deadLetter(item, verdict);
      else this.#hold(item, this.#loneMs(item.delivery.attempt));
    }
    if (succeeded) this.#successes++;
    this.#settle(done);
  }

  /** What was given up meanwhile is held no more. */
  #decided(items: readonly Item<P>[], decisions: readonly Decision[]): void {
    const held = [...items.keys()].filter((at) => this.#release(items[at] as Item<P>));
    this.#apply(
      held.map((at) => items[at] as Item<P>),
      held.map((at) => decisions[at] as Decision),
    );
    this.#kick();
  }

  #failedLater(item: Item<P>, error: unknown): void {
    if (!this.#release(item)) return;
    const { queue, listener } = this.#options;
    listener?.({ event: "bus.batch_rejected", queue, size: 1, error, retryInMs: 0 });
    this.#failedAlone(item, error, 0);
    this.#kick();
  }

  #release(item: Item<P>): boolean {
    return this.#holds.release(this.#keyOf(item), item);
  }

  #rejected({ items, retried }: Piece<P>, error: unknown): void {
    const { queue, listener, clock } = this.#options;
    const blame = blameOf(error);
    const pauseMs = this.#outages.pauseMs(blame, error, retried);
    if (pauseMs > 0) this.#pausedUntil = clock.now() + pauseMs;
    const alone = items.length === 1 ? items[0] : undefined;
    listener?.({ event: "bus.batch_rejected", queue, size: items.length, error, retryInMs: pauseMs });
    if (!retried) this.#pieces.again(items);
    else if (alone === undefined) this.#pieces.halve(items);
    else this.#failedAlone(alone, error, pauseMs);
  }

  #failedAlone(item: Item<P>, error: unknown, pauseMs: number): void {
    const { deadLetters, clock } = this.#options;
    const verdict = this.#alone.failed(item, error, clock.now(), this.#successes);
    if (verdict !== undefined && deadLetters) this.#deadLetter(item, verdict);
    else this.#hold(item, Math.max(pauseMs, this.#loneMs(item.failures?.alone ?? 1)));
  }

  #hold(item: Item<P>, afterMs: number): void {
    this.#holds.add(this.#keyOf(item), item, this.#options.clock.now() + Math.max(0, afterMs));
  }

  #keyOf(item: Item<P>): string {
    const { handler, listener, queue } = this.#options;
    if (item.key === undefined && handler.keyOf !== undefined && (item.prepared || !this.#prepare)) {
      try {
        item.key = handler.keyOf(item);
      } catch (error) {
        listener?.({ event: "bus.fault", queue, reason: `keyOf failed: ${String(error)}` });
      }
    }
    return item.key ?? EVERYTHING;
  }

  #deadLetter(
    item: Item<P>,
    { code, detail = "" }: { readonly code: ErrorCode; readonly detail?: string },
  ): void {
    const session = this.#session;
    this.#deadLettering.deadLetter(
      item,
      { code, detail, queue: this.#options.queue },
      () => session === this.#session,
    );
  }

  #settle(items: readonly Item<P>[]): void {
    if (items.length === 0) return;
    this.#count -= items.length;
    for (const item of items) {
      this.#bytes -= item.delivery.body.length;
      if (item.failures !== undefined) this.#alone.over(item);
    }
    this.#options.outlet.settle(items);
  }

  #loneMs(failures: number): number {
    return backoffMs(this.#patience.alone, failures, this.#options.random);
  }
}

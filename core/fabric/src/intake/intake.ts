/**
 * How a subscription consumes, the same for every driver.
 *
 * Arrivals are gathered and prepared (stage.ts), then handled, one batch at a time. Each verdict settles
 * its delivery, holds its key for a retry (holds.ts) or buries it. A batch that is rejected comes again
 * whole, then in halves, before anything newer; what fails alone holds its key and is tried again, ever
 * more slowly, until it succeeds or may be given up (blame.ts). While the surroundings fail, all of it
 * pauses.
 *
 * Losing the connection (`abandon`) forgets everything: the broker delivers it again, and what a handler
 * still decides about the old deliveries is dropped.
 */
import type { ErrorCode } from "@linkspan/envelopes";
import { backoffMs, DEFAULT_PATIENCE, type Patience } from "../backoff.ts";
import type { Handler, Verdict } from "../bus.ts";
import { Deque } from "../deque.ts";
import { type Blame, blameFor } from "./blame.ts";
import { Burials } from "./burials.ts";
import { EVERYTHING, Holds } from "./holds.ts";
import { Item, type MutableDelivery } from "./item.ts";
import type { IntakeOptions } from "./options.ts";
import { prepareItems, Stage } from "./stage.ts";

interface Piece<P> {
  readonly items: readonly Item<P>[];
  /** Already tried again as it is: the next failure halves it. */
  readonly retried: boolean;
  readonly failure?: { readonly error: unknown };
}

export class Intake<P> {
  readonly #options: IntakeOptions<P>;
  readonly #patience: Patience;
  readonly #prepare: Handler<P>["prepare"];
  readonly #stage: Stage<P>;
  readonly #holds = new Holds<P>();
  readonly #redo = new Deque<Piece<P>>();
  readonly #burials: Burials<P>;
  readonly #closing = new AbortController();
  #session = 0;
  #arrivals = 0;
  #count = 0;
  #bytes = 0;
  #running: Promise<void> | undefined;
  #pausedUntil = Number.NEGATIVE_INFINITY;
  #outages = 0;
  #freshFirst = false;
  #cancelAlarm: (() => void) | undefined;

  constructor(options: IntakeOptions<P>) {
    this.#options = options;
    this.#patience = options.patience ?? DEFAULT_PATIENCE;
    this.#prepare = options.handler.prepare?.bind(options.handler);
    this.#burials = new Burials<P>({
      ...options,
      bury: (item, death) => options.outlet.bury(item, death),
      onBuried: (item) => this.#settle([item]),
      backoff: this.#patience.alone,
      closing: this.#closing.signal,
    });
    this.#stage = new Stage({
      prepare: this.#prepare,
      maxBatch: options.limits.maxBatch,
      lingerMs: options.limits.lingerMs,
      clock: options.clock,
      onReady: () => this.#kick(),
    });
  }

  /** Deliveries held and their bytes, from `push` to settlement. */
  get count(): number {
    return this.#count;
  }
  get bytes(): number {
    return this.#bytes;
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

  /** The connection is gone: forgets all that it delivered. */
  abandon(): void {
    this.#session++;
    this.#count = 0;
    this.#bytes = 0;
    this.#stage.clear();
    this.#holds.clear();
    this.#redo.clear();
  }

  /** Finishes the batch in hand and its burials; the rest stays unsettled, for the driver to give back. */
  async drain(): Promise<void> {
    this.#closing.abort();
    this.#cancelAlarm?.();
    await this.#running;
    await this.#burials.finished();
    this.abandon();
  }

  #kick(): void {
    if (this.#running === undefined && !this.#closing.signal.aborted) this.#running = this.#run();
  }

  async #run(): Promise<void> {
    await Promise.resolve(); // `#running` is set
    for (let piece = this.#next(); piece !== undefined; piece = this.#next()) await this.#work(piece);
    this.#running = undefined;
  }

  #next(): Piece<P> | undefined {
    this.#cancelAlarm?.();
    if (this.#closing.signal.aborted) return undefined;
    const now = this.#options.clock.now();
    if (now < this.#pausedUntil) return this.#alarm(this.#pausedUntil - now);
    const next = this.#redo.shift() ?? this.#alternate(now);
    if (next !== undefined) return next;
    const dueAt = this.#holds.nextDueAt();
    return dueAt === undefined ? undefined : this.#alarm(dueAt - now);
  }

  /** Neither what is due nor what is new starves the other. */
  #alternate(now: number): Piece<P> | undefined {
    const freshFirst = this.#freshFirst;
    this.#freshFirst = !freshFirst;
    if (freshFirst) return this.#fresh() ?? this.#due(now);
    return this.#due(now) ?? this.#fresh();
  }

  #fresh(): Piece<P> | undefined {
    const batch = this.#stage.take();
    return batch && { ...batch, retried: false };
  }

  #due(now: number): Piece<P> | undefined {
    if (this.#holds.size === 0) return undefined;
    const items = this.#holds.takeDue(now, this.#options.limits.maxBatch);
    return items.length === 0 ? undefined : { items, retried: true };
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
      this.#outages = 0;
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
    if (verdicts.length !== batch.length) {
      throw new Error(`the handler answered ${verdicts.length} verdicts for ${batch.length} deliveries`);
    }
    return verdicts;
  }

  #apply(batch: readonly Item<P>[], verdicts: readonly Verdict[]): void {
    const done: Item<P>[] = [];
    for (let at = 0; at < batch.length; at++) {
      const item = batch[at] as Item<P>;
      const verdict = verdicts[at] as Verdict;
      if (verdict.do === "ack") done.push(item);
      else if (verdict.do === "retry") this.#hold(item, verdict.afterMs);
      else if (this.#options.mortal) this.#bury(item, verdict);
      else this.#hold(item, this.#loneMs(item.delivery.attempt));
    }
    this.#settle(done);
  }

  #rejected({ items, retried }: Piece<P>, error: unknown): void {
    const { queue, listener, clock } = this.#options;
    const blame = blameFor(error);
    const pauseMs = this.#pauseMs(blame, retried);
    if (pauseMs > 0) this.#pausedUntil = clock.now() + pauseMs;
    const alone = items.length === 1 ? items[0] : undefined;
    if (!retried) this.#redo.unshift([{ items, retried: true }]);
    else if (alone === undefined) this.#halve(items);
    else this.#failedAlone(alone, blame, pauseMs);
    listener?.({ event: "bus.batch_rejected", queue, size: items.length, error, retryInMs: pauseMs });
  }

  /** Of the whole subscription: as long as the surroundings need; otherwise before the first retry only. */
  #pauseMs(blame: Blame, retried: boolean): number {
    const { random } = this.#options;
    if (blame.on === "surroundings") {
      return Math.max(backoffMs(this.#patience.outage, ++this.#outages, random), blame.retryAfterMs ?? 0);
    }
    return retried ? 0 : backoffMs(this.#patience.outage, 1, random);
  }

  #halve(items: readonly Item<P>[]): void {
    const middle = items.length >> 1;
    const [left, right] = [items.slice(0, middle), items.slice(middle)];
    this.#redo.unshift([
      { items: left, retried: true },
      { items: right, retried: true },
    ]);
  }

  #failedAlone(item: Item<P>, blame: Blame, pauseMs: number): void {
    const { mortal } = this.#options;
    item.loneFailures++;
    if (mortal && blame.on === "message") this.#bury(item, blame);
    else if (mortal && blame.on === "unknown" && item.loneFailures >= this.#patience.loneTries) {
      this.#bury(item, { code: "bus.rejected", detail: `${item.loneFailures} times, last: ${blame.detail}` });
    } else this.#hold(item, Math.max(pauseMs, this.#loneMs(item.loneFailures)));
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

  #bury(item: Item<P>, { code, detail = "" }: { readonly code: ErrorCode; readonly detail?: string }): void {
    const session = this.#session;
    this.#burials.bury(item, { code, detail, queue: this.#options.queue }, () => session === this.#session);
  }

  #settle(items: readonly Item<P>[]): void {
    if (items.length === 0) return;
    this.#count -= items.length;
    for (const item of items) this.#bytes -= item.delivery.body.length;
    this.#options.outlet.settle(items);
  }

  #loneMs(failures: number): number {
    return backoffMs(this.#patience.alone, failures, this.#options.random);
  }
}

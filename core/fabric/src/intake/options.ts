import type { Patience } from "../backoff.ts";
import type { Death, Handler, SubscribeOptions, Verdict } from "../bus.ts";
import type { Clock, Random } from "../clock.ts";
import type { BusListener } from "../events.ts";
import type { Item } from "./item.ts";

/** The broker's side of a subscription. */
export interface Outlet<P> {
  /** These are done; in no particular order. */
  settle(items: readonly Item<P>[]): void;
  /** Resolves once it is safe among the dead letters; the intake settles it then. */
  deadLetter(item: Item<P>, death: Death): Promise<void>;
}

export interface IntakeOptions<P> {
  readonly queue: string;
  readonly handler: Handler<P>;
  readonly limits: Limits;
  readonly outlet: Outlet<P>;
  readonly clock: Clock;
  readonly random: Random;
  readonly listener?: BusListener | undefined;
  /** False on the dead-letter queue: a dead letter is retried there and never dead-lettered again. */
  readonly deadLetters: boolean;
  readonly patience?: Patience | undefined;
  /** One more message fails alone again and again, or one less. */
  readonly onStuck?: (change: 1 | -1) => void;
  /** Surrounds every call of the handler. */
  readonly observe?: (
    items: readonly Item<P>[],
    run: () => Promise<readonly Verdict[]>,
  ) => Promise<readonly Verdict[]>;
}

export type Limits = Required<SubscribeOptions>;

export function limitsOf(options: SubscribeOptions = {}): Limits {
  const { maxBatch = 500, lingerMs = 5, maxInFlight = 1_000, maxBytes = 16 * 1024 * 1024 } = options;
  return { maxBatch: Math.min(maxBatch, maxInFlight), lingerMs, maxInFlight, maxBytes };
}

/** Messages that fail alone again and again: who they are, reported ever more rarely. */
import { isFabricError } from "@linkspan/envelopes";
import type { StuckMessage } from "../bus.ts";
import type { BusListener } from "../events.ts";
import type { Item } from "./item.ts";
import type { Failures } from "./proof.ts";

export interface StuckOptions {
  readonly queue: string;
  readonly listener?: BusListener | undefined;
  readonly onStuck?: (change: 1 | -1) => void;
  readonly reportAfter: number;
}

/** More of them are held, but not listed. */
const MAX_LISTED = 100;

interface Known {
  readonly failures: Failures;
  code: StuckMessage["code"];
}

export class Stuck<P> {
  readonly #options: StuckOptions;
  readonly #known = new Map<Item<P>, Known>();

  constructor(options: StuckOptions) {
    this.#options = options;
  }

  failed(item: Item<P>, failures: Failures, error: unknown, now: number): void {
    const { queue, listener, onStuck, reportAfter } = this.#options;
    if (failures.alone < reportAfter) return;
    const code = isFabricError(error) ? error.code : "internal";
    const known = this.#known.get(item);
    if (known !== undefined) known.code = code;
    else {
      this.#known.set(item, { failures, code });
      onStuck?.(1);
    }
    if (!isDoubling(failures.alone / reportAfter)) return;
    const { messageId } = item.delivery;
    const forMs = Math.round(now - failures.since);
    listener?.({ event: "bus.message_stuck", queue, messageId, failures: failures.alone, forMs, error });
  }

  over(item: Item<P>): void {
    if (this.#known.delete(item)) this.#options.onStuck?.(-1);
  }

  clear(): void {
    for (const item of [...this.#known.keys()]) this.over(item);
  }

  find(messageId: string): Item<P> | undefined {
    for (const item of this.#known.keys()) if (item.delivery.messageId === messageId) return item;
    return undefined;
  }

  list(now: number): StuckMessage[] {
    const { queue } = this.#options;
    return [...this.#known].slice(0, MAX_LISTED).map(([{ delivery }, { failures, code }]) => ({
      queue,
      messageId: delivery.messageId,
      failures: failures.alone,
      forMs: Math.round(now - failures.since),
      code,
    }));
  }
}

function isDoubling(times: number): boolean {
  return Number.isInteger(times) && (times & (times - 1)) === 0;
}

/**
 * Messages that fail alone: whether they cause the failures themselves, and reports of those that fail again and
 * again, at growing intervals.
 */
import { blameOf, type ErrorCode, isFabricError } from "@linkspan/envelopes";
import type { Patience } from "../backoff.ts";
import type { StuckMessage } from "../bus.ts";
import type { BusListener } from "../events.ts";
import type { Item } from "./item.ts";
import { Failures } from "./proof.ts";

export interface AloneOptions {
  readonly queue: string;
  readonly listener?: BusListener | undefined;
  readonly onStuck?: (change: 1 | -1) => void;
  readonly patience: Patience;
}

/** More of them are held, but not listed. */
const MAX_LISTED = 100;

interface Cause {
  readonly code: ErrorCode;
  readonly detail: string;
}

interface Known {
  readonly failures: Failures;
  code: StuckMessage["code"];
}

export class Alone<P> {
  readonly #options: AloneOptions;
  readonly #known = new Map<Item<P>, Known>();

  constructor(options: AloneOptions) {
    this.#options = options;
  }

  /**
   * One more failure alone.
   *
   * @param successes batches of this subscription in which something succeeded, until now
   * @returns what to dead-letter it with, once it is known to be the cause
   */
  failed(item: Item<P>, error: unknown, now: number, successes: number): Cause | undefined {
    const failures = (item.failures ??= new Failures(now, successes));
    const blame = blameOf(error);
    if (blame === "unknown") {
      if (failures.unknown(this.#options.patience.proof, now, successes)) {
        const detail = `failed alone ${failures.alone} times while others succeeded, last: ${nameOf(error)}`;
        return { code: "internal", detail };
      }
    } else failures.surroundings(now, successes);
    if (blame === "message" && isFabricError(error)) return { code: error.code, detail: error.message };
    this.#remember(item, failures, error, now);
    return undefined;
  }

  #remember(item: Item<P>, failures: Failures, error: unknown, now: number): void {
    const { queue, listener, onStuck, patience } = this.#options;
    const { reportAfter } = patience;
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
    for (const item of this.#known.keys()) this.over(item);
  }

  find(messageId: string): Item<P> | undefined {
    for (const item of this.#known.keys()) if (item.delivery.messageId === messageId) return item;
    return undefined;
  }

  /** Messages that have failed often enough to be reported. */
  stuck(now: number): StuckMessage[] {
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

/** Its text may hold anything; its name is ours. */
function nameOf(error: unknown): string {
  return error instanceof Error ? error.name.slice(0, 100) : "not an error";
}

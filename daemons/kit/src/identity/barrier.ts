/**
 * The barrier around one connection of one identity: an error that the connector's code throws, rejects with
 * or emits as `error` ends that connection and nothing else.
 *
 * The kit calls the connector through {@link Barrier.call}. Callbacks that a connector gives to its platform,
 * to timers and to event emitters go through {@link Barrier.guard}. An error outside of both is still
 * attributed to the identity, because every call runs in the barrier's asynchronous context: see {@link
 * claimStrayError}.
 */
import { AsyncLocalStorage } from "node:async_hooks";
import { FabricError, isFabricError } from "@linkspan/envelopes";
import type { Logger } from "pino";

export interface BarrierOptions {
  readonly log: Logger;
  /** Called once, with the first failure. */
  readonly onFailure: (error: ConnectorFailure) => void;
}

/** Code of the connector failed where no caller handles it. The code is the cause's, or `internal`. */
export class ConnectorFailure extends FabricError {}

/** The barrier to which the running code belongs. Node carries it through timers, promises and sockets. */
const running = new AsyncLocalStorage<Barrier>();

export class Barrier implements Disposable {
  readonly #options: BarrierOptions;
  #failures = 0;
  #isOver = false;

  constructor(options: BarrierOptions) {
    this.#options = options;
  }

  /**
   * Calls the connector. A synchronous throw becomes a rejection like any other, which the caller handles.
   */
  async call<T>(work: () => T | PromiseLike<T>): Promise<T> {
    return running.run(this, () => work());
  }

  /** The same for synchronous calls. @throws what `work` throws */
  callNow<T>(work: () => T): T {
    return running.run(this, work);
  }

  /** Runs code of the kit or the bus that a connector called: an error in it is not the connector's. */
  outside<T>(work: () => T): T {
    return running.exit(work);
  }

  /** Returns a callback that never throws and never rejects: its failure is reported as the connection's. */
  guard<A extends readonly unknown[]>(callback: (...args: A) => unknown): (...args: A) => void {
    return (...args) => {
      try {
        const result = running.run(this, () => callback(...args));
        if (isThenable(result)) Promise.resolve(result).catch((error: unknown) => this.fail(error));
      } catch (error) {
        this.fail(error);
      }
    };
  }

  /**
   * Reports a failure. Only the first one counts; the number of the others is logged when the barrier is
   * disposed.
   */
  fail(error: unknown): void {
    this.#failures += 1;
    const { log, onFailure } = this.#options;
    if (this.#failures > 1) return;
    log.error({ event: "connector.failed", late: this.#isOver, err: asError(error) });
    if (!this.#isOver) onFailure(asFailure(error));
  }

  /** The connection is closed: later failures are logged and have no other effect. */
  [Symbol.dispose](): void {
    this.#isOver = true;
    if (this.#failures > 1)
      this.#options.log.warn({ event: "connector.failed_again", failures: this.#failures });
    this.#failures = 0;
  }
}

/**
 * Gives an uncaught error to the identity whose code threw it.
 *
 * @returns false when it belongs to no identity: then the process is in an unknown state
 */
export function claimStrayError(error: unknown): boolean {
  const barrier = running.getStore();
  barrier?.fail(error);
  return barrier !== undefined;
}

function asFailure(error: unknown): ConnectorFailure {
  const code = isFabricError(error) ? error.code : "internal";
  return new ConnectorFailure(code, "the connector failed while it served this identity", { cause: error });
}

/** Converts any thrown value to an error, for the log. */
function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(`not an error but ${typeof error}`);
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === "object" && value !== null && "then" in value && typeof value.then === "function";
}

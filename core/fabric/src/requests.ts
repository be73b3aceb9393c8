/** Requests of one process that wait for their answer, the same for every driver. */
import { FabricError } from "@linkspan/envelopes";
import type { Bus, Delivery, Outgoing, RequestOptions } from "./bus.ts";
import type { Clock } from "./clock.ts";

interface Waiting {
  readonly answer: (delivery: Delivery) => void;
  readonly fail: (error: FabricError) => void;
}

export class Requests {
  readonly #clock: Clock;
  readonly #waiting = new Map<string, Waiting>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** An answer nobody waits for, such as one that came too late, is dropped. */
  answered(delivery: Delivery): void {
    if (delivery.inReplyTo !== undefined) this.#waiting.get(delivery.inReplyTo)?.answer(delivery);
  }

  failAll(error: FabricError): void {
    for (const { fail } of this.#waiting.values()) fail(error);
  }

  /** `message` already carries the return address. */
  send(publish: Bus["publish"], message: Outgoing, options: RequestOptions): Promise<Delivery> {
    const { timeoutMs, signal, ...how } = options;
    const id = message.messageId;
    if (this.#waiting.has(id)) {
      return Promise.reject(
        new FabricError("bus.unavailable", "this request is already waiting for its answer"),
      );
    }
    const { promise, resolve, reject } = Promise.withResolvers<Delivery>();
    const unsent = new AbortController();
    const abort = (): void => reject(new FabricError("bus.timeout", "the request was called off"));
    const cancel = this.#clock.after(timeoutMs, () =>
      reject(new FabricError("bus.timeout", `no answer within ${timeoutMs} ms`)),
    );
    this.#waiting.set(id, { answer: resolve, fail: reject });
    if (signal?.aborted) abort();
    else {
      signal?.addEventListener("abort", abort, { once: true });
      publish(message, { ...how, signal: unsent.signal }).catch(reject);
    }
    return promise.finally(() => {
      cancel();
      signal?.removeEventListener("abort", abort);
      this.#waiting.delete(id);
      unsent.abort();
    });
  }
}

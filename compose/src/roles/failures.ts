/**
 * The first of several unexpected ends: a process of which one part has ended must end, so that it is started
 * again.
 */
export class Failures {
  /** Rejects with it. Never resolves. */
  readonly first: Promise<never>;
  readonly #reject: (reason: unknown) => void;

  constructor() {
    const { promise, reject } = Promise.withResolvers<never>();
    promise.catch(() => undefined); // it may fail before anybody waits
    this.first = promise;
    this.#reject = reject;
  }

  /** A requested end is not a failure. */
  watch(ending: Promise<unknown>): void {
    ending.catch((error: unknown) => this.#reject(error));
  }
}

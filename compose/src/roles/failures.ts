/** The first of several endings that nobody asked for: a process that is half dead must end, to be started again. */
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

  /** An orderly ending is not a failure. */
  watch(ending: Promise<unknown>): void {
    ending.catch((error: unknown) => this.#reject(error));
  }
}

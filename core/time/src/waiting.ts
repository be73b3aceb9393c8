import { type Clock, systemClock } from "./clock.ts";

/** Resolves when the signal is aborted. */
export function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}

/** The reason of what has ended as expected. One object, because a reason that Node makes costs a stack trace. */
const OVER = new Error("it is over");

/** Aborts without a reason of its own. */
export function end(controller: AbortController): void {
  controller.abort(OVER);
}

/** A signal that is aborted with any of `signals`, or by calling `abort`. */
export function childOf(...signals: readonly AbortSignal[]): AbortController {
  const child = new AbortController();
  for (const signal of signals) {
    if (signal.aborted) child.abort(signal.reason);
    else
      signal.addEventListener("abort", () => child.abort(signal.reason), {
        once: true,
        signal: child.signal,
      });
  }
  return child;
}

/**
 * Waits for `work`, at most `ms`. Rejects when `work` does in time; a later result or error is ignored.
 *
 * @returns false when it took longer
 */
export function within(ms: number, work: PromiseLike<unknown>, clock: Clock = systemClock): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const cancel = clock.after(ms, () => resolve(false));
    Promise.resolve(work)
      .then(() => resolve(true), reject)
      .finally(cancel);
  });
}

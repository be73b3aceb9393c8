import { setTimeout as delay } from "node:timers/promises";

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

/** Waits for `work`, at most `ms`; a later result or error is ignored. Rejects when `work` does in time. */
export async function within(ms: number, work: PromiseLike<unknown>): Promise<void> {
  const timer = new AbortController();
  const late = delay(ms, undefined, { signal: timer.signal }).catch(() => undefined);
  await Promise.race([Promise.resolve(work).finally(() => timer.abort()), late]);
}

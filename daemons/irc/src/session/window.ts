/** Waiting inside the time that the core granted, and never past it. */
import type { Window } from "@linkspan/daemon-kit";
import type { Timers } from "./timers.ts";

export function isOpen(window: Window, timers: Timers): boolean {
  return !window.signal.aborted && timers.monotonicMs() < window.untilMs;
}

/** @throws what `closed` makes when the window closes first; the result of `work` is then ignored */
export async function inside<T>(
  window: Window,
  timers: Timers,
  work: Promise<T>,
  closed: () => Error,
): Promise<T> {
  const end = Promise.withResolvers<never>();
  const close = () => end.reject(closed());
  const cancel = timers.after(Math.max(0, window.untilMs - timers.monotonicMs()), close);
  window.signal.addEventListener("abort", close, { once: true });
  work.catch(() => undefined);
  end.promise.catch(() => undefined);
  if (!isOpen(window, timers)) close();
  try {
    return await Promise.race([work, end.promise]);
  } finally {
    cancel();
    window.signal.removeEventListener("abort", close);
  }
}

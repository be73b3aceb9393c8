/** Waiting inside the time that the core granted, and never past it. */
import type { Window } from "@linkspan/daemon-kit";

export function isOpen(window: Window): boolean {
  return !window.signal.aborted && performance.now() < window.untilMs;
}

/** @throws what `closed` makes when the window closes first; `work` then goes on unheard */
export async function inside<T>(window: Window, work: Promise<T>, closed: () => Error): Promise<T> {
  const end = Promise.withResolvers<never>();
  const close = () => end.reject(closed());
  const timer = setTimeout(close, Math.max(0, window.untilMs - performance.now()));
  window.signal.addEventListener("abort", close, { once: true });
  work.catch(() => undefined);
  end.promise.catch(() => undefined);
  if (!isOpen(window)) close();
  try {
    return await Promise.race([work, end.promise]);
  } finally {
    clearTimeout(timer);
    window.signal.removeEventListener("abort", close);
  }
}

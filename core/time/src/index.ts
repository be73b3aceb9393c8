/** The one clock, the one backoff, and the one way to wait for something at most so long. */
export { type Backoff, backoffMs } from "./backoff.ts";
export { type Clock, passedMs, type Random, sleep, suspendedMs, systemClock } from "./clock.ts";
export { Semaphore } from "./semaphore.ts";
export { aborted, childOf, end, within } from "./waiting.ts";

/** The one clock, the one backoff, and the one way to wait for something at most so long. */
export { type Backoff, backoffMs } from "./backoff.ts";
export { type Clock, type Random, sleep, systemClock } from "./clock.ts";
export { aborted, childOf, within } from "./waiting.ts";

/** How much one caller may ask of this process. Every bound is per process: with n of them, n times as much. */
import type { TurnLimits } from "./fair-turns.ts";
import type { Rate } from "./rate-limiter.ts";

export interface ApiLimits {
  /** Requests without a valid token, per address: open routes, unknown paths. */
  readonly anonymous: Rate;
  /** Requests whose token is missing or wrong, per address; those with a valid one never count. */
  readonly failures: Rate;
  readonly perToken: Rate;
  /** Requests about one workspace, by whichever token. Staff of the installation are not counted. */
  readonly perWorkspace: Rate;
  /** Requests of one workspace that are being answered at once. */
  readonly requestsPerWorkspace: number;
  /** Requests that are worked on at once; the others wait, workspaces in turn. */
  readonly turns: TurnLimits;
  /** Requests with one token that were refused for what they say or whom they ask for. */
  readonly mistakes: Rate;
  /** Bytes of bodies that are read for one workspace. */
  readonly bodyBytes: Rate;
  /** A request over a rate is told so after this time, milliseconds, so that asking again at once gains nothing. */
  readonly refusedAfterMs: number;
  /** Event streams and long polls. */
  readonly streamsPerToken: number;
  readonly streamsPerWorkspace: number;
  readonly streams: number;
  /** Bytes of events that all streams together hold and their readers have not taken. */
  readonly streamBytes: number;
  /** A stream whose reader takes nothing for so long is ended. */
  readonly slowReaderMs: number;
  readonly connections: number;
  readonly connectionsPerAddress: number;
  /** From the first byte to the end of the headers. */
  readonly headersMs: number;
  /** From the first byte to the end of the body. */
  readonly requestMs: number;
  /** A connection on which nothing moves for so long is closed. Longer than the longest long poll. */
  readonly idleMs: number;
  /** Addresses, tokens and workspaces that are remembered, each. */
  readonly remembered: number;
}

export const DEFAULT_LIMITS: ApiLimits = {
  anonymous: { perSecond: 50, burst: 200 },
  failures: { perSecond: 20 / 60, burst: 20 },
  perToken: { perSecond: 200, burst: 1_000 },
  perWorkspace: { perSecond: 400, burst: 2_000 },
  requestsPerWorkspace: 100,
  turns: turnsOf(6),
  mistakes: { perSecond: 10, burst: 100 },
  bodyBytes: { perSecond: 4 * 1_048_576, burst: 64 * 1_048_576 },
  refusedAfterMs: 500,
  streamsPerToken: 20,
  streamsPerWorkspace: 100,
  streams: 1_000,
  streamBytes: 64 * 1_048_576,
  slowReaderMs: 30_000,
  connections: 4_000,
  connectionsPerAddress: 400,
  headersMs: 10_000,
  requestMs: 30_000,
  idleMs: 75_000,
  remembered: 10_000,
};

/**
 * How many requests are worked on at once, by the connections that the process has to its database: a third of them
 * is left for what is on its way in and out, and half of the rest for other workspaces.
 */
export function turnsOf(connections: number): TurnLimits {
  const atOnce = Math.max(1, Math.floor((connections * 2) / 3));
  return { atOnce, perTenant: Math.max(1, Math.floor(atOnce / 2)) };
}

/** Most bytes of a request's headers. */
export const MAX_HEADER_BYTES = 16_384;
export const MAX_HEADERS = 100;

/** Most members of a list of intents. */
export const MAX_INTENTS = 200;

/** Most bytes of a body, by what a route takes. */
export const BODY_BYTES = { small: 16_384, credentials: 262_144, intent: 1_048_576 } as const;

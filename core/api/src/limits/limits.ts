/**
 * Limits of one caller in this process. Every limit is per process: with n processes, a caller gets n times
 * as much.
 */
import type { TurnLimits } from "./fair-turns.ts";
import type { Rate } from "./rate-limiter.ts";

export interface ApiLimits {
  /** Requests without a valid token, per address: open routes, unknown paths. */
  readonly anonymous: Rate;
  /** Requests whose token is missing or wrong, per address; requests with a valid token never count. */
  readonly failures: Rate;
  readonly perToken: Rate;
  /** Requests about one workspace, with any token. Operators of the installation are not counted. */
  readonly perWorkspace: Rate;
  /** Requests of one workspace that are being answered at the same time. */
  readonly requestsPerWorkspace: number;
  /** Requests that are processed at the same time; the others wait, and workspaces take turns. */
  readonly turns: TurnLimits;
  /** Requests with one token that were refused because of their content or the workspace that they name. */
  readonly mistakes: Rate;
  /** Bytes of bodies that are read for one workspace. */
  readonly bodyBytes: Rate;
  /**
   * A request over a rate is refused after this delay, milliseconds, so that an immediate retry gains
   * nothing.
   */
  readonly refusedAfterMs: number;
  /** Event streams and long polls. */
  readonly streamsPerToken: number;
  readonly streamsPerWorkspace: number;
  readonly streams: number;
  /** Bytes of events that all streams together hold for readers that have not received them yet. */
  readonly streamBytes: number;
  /** A stream ends when its reader receives nothing for this time. */
  readonly slowReaderMs: number;
  /** Uploads and downloads of media at the same time: each holds some buffers, and a connection to the place of media. */
  readonly transfers: number;
  readonly transfersPerWorkspace: number;
  /** An upload ends when it brings less than {@link LEAST_UPLOAD_BYTES} in this time, while its bytes are awaited. */
  readonly stallMs: number;
  readonly connections: number;
  readonly connectionsPerAddress: number;
  /** From the first byte to the end of the headers. */
  readonly headersMs: number;
  /** From the end of the headers to the end of the body; uploads of media have `stallMs` instead. */
  readonly requestMs: number;
  /** A connection without traffic is closed after this time. Longer than the longest long poll. */
  readonly idleMs: number;
  /** Most addresses, tokens and workspaces that are remembered, each. */
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
  transfers: 128,
  transfersPerWorkspace: 32,
  stallMs: 30_000,
  connections: 4_000,
  connectionsPerAddress: 400,
  headersMs: 10_000,
  requestMs: 30_000,
  idleMs: 75_000,
  remembered: 10_000,
};

/**
 * How many requests are processed at the same time, from the number of database connections of the process: a
 * third of the connections is left for receiving and sending messages, and half of the rest for other
 * workspaces.
 */
export function turnsOf(connections: number): TurnLimits {
  const atOnce = Math.max(1, Math.floor((connections * 2) / 3));
  return { atOnce, perTenant: Math.max(1, Math.floor(atOnce / 2)) };
}

/** Most bytes of a request's headers. */
export const MAX_HEADER_BYTES = 16_384;
export const MAX_HEADERS = 100;

export const LEAST_UPLOAD_BYTES = 32_768;

/** Most members of a list of intents. */
export const MAX_INTENTS = 200;

/** Most bytes of a body, by what a route takes. */
export const BODY_BYTES = { small: 16_384, credentials: 262_144, intent: 1_048_576 } as const;

/**
 * The host that a connection gets from the kit. It never throws into the connector's own callbacks: see
 * barrier.ts.
 */
import type { Logger } from "pino";
import type { BridgeState, IdentityHost, PlatformEvent, Rows, Throttle } from "../connector.ts";
import type { Secrets } from "../secrets.ts";
import { soundMs } from "../shared/checks.ts";
import type { Barrier } from "./barrier.ts";

export interface HostOptions {
  readonly log: Logger;
  /** Aborted when the connection must end; nothing is reported after that. */
  readonly signal: AbortSignal;
  readonly barrier: Barrier;
  readonly credentials: Secrets & {
    writeBack(fields: Readonly<Record<string, Uint8Array>>): Promise<void>;
  };
  readonly rows: Rows;
  readonly event: (event: PlatformEvent) => Promise<void>;
  readonly state: (state: BridgeState) => void;
  readonly throttle: (throttle: Throttle) => void;
}

/** Default duration of a platform's request to slow down, when it names no time of its own, milliseconds. */
const SLOW_DOWN_MS = 1_000;

export function hostOf(options: HostOptions): IdentityHost {
  const { log, signal, barrier, credentials, rows } = options;
  return {
    log,
    signal,
    secrets: credentials,
    guard: (callback) => barrier.guard(callback),
    event: (event) => quiet(takeEvent(event, options)),
    state: barrier.guard((state: BridgeState) => {
      if (!signal.aborted) barrier.outside(() => options.state(state));
    }),
    throttle: barrier.guard((throttle: Throttle) => {
      const retryAfterMs = soundMs(throttle.retryAfterMs) ?? SLOW_DOWN_MS;
      if (signal.aborted) return;
      barrier.outside(() => options.throttle({ reason: String(throttle.reason), retryAfterMs }));
    }),
    rows: {
      load: () => quiet(barrier.outside(() => rows.load())),
      commit: (changes) => quiet(barrier.outside(() => rows.commit(changes))),
    },
    writeBack: (fields) => quiet(barrier.outside(() => credentials.writeBack(fields))),
  };
}

async function takeEvent(event: PlatformEvent, { signal, barrier, ...options }: HostOptions): Promise<void> {
  signal.throwIfAborted();
  try {
    await barrier.outside(() => options.event(event));
  } catch (error) {
    if (!signal.aborted) barrier.fail(error);
    throw error;
  }
}

/** A rejection that a connector ignores must not become an unhandled one: the kit already knows of it. */
function quiet<T>(work: Promise<T>): Promise<T> {
  work.catch(() => undefined);
  return work;
}

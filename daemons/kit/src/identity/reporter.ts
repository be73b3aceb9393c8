/** Reports of one identity: bridge states, throttles and checkpoints. Only the newest of each is sent. */
import { LIMITS, timestamp } from "@linkspan/envelopes";
import type { Outgoing } from "@linkspan/fabric";
import type { Logger } from "pino";
import type { Author } from "../bus/author.ts";
import { clip } from "../shared/clip.ts";
import type { Clock } from "../shared/clock.ts";
import type { BridgeState, LinkedIdentity, Throttle } from "../connector.ts";
import { Latest } from "../shared/latest.ts";
import type { Cursor } from "../inbound/event-stream.ts";

export interface ReporterOptions {
  readonly author: Author;
  readonly publish: (message: Outgoing) => Promise<void>;
  readonly clock: Clock;
  readonly log: Logger;
  readonly signal: AbortSignal;
  readonly checkpointEveryMs: number;
}

export class Reporter {
  readonly #identity: LinkedIdentity;
  readonly #options: ReporterOptions;
  readonly #states: Latest<Outgoing>;
  readonly #throttles: Latest<Outgoing>;
  readonly #checkpoints: Latest<Cursor>;
  #state: BridgeState = { state: "unconfigured", message: "" };

  constructor(identity: LinkedIdentity, options: ReporterOptions) {
    this.#identity = identity;
    this.#options = options;
    const { publish, clock, signal, log } = options;
    const onError = (error: unknown) => log.warn({ event: "report.unpublished", err: error });
    this.#states = new Latest({ send: publish, clock, signal, onError });
    this.#throttles = new Latest({ send: publish, clock, signal, onError });
    this.#checkpoints = new Latest({
      send: (cursor) => publish(this.#note("checkpoint", { cursor })),
      clock,
      signal,
      onError,
      everyMs: options.checkpointEveryMs,
    });
  }

  get current(): BridgeState {
    return this.#state;
  }

  /** @returns false when nothing changed */
  state({ message, ...told }: BridgeState): boolean {
    const before = this.#state;
    const state: BridgeState = { ...told, message: clip(message) };
    // Signed first: if a state does not fit an envelope, that is the connector's fault, and it does not
    // become the current state.
    const note = this.#note("bridge_state", {
      state: state.state,
      message: state.message,
      ...(state.code !== undefined && { code: state.code }),
      ...(state.retryAt !== undefined && { retry_at: timestamp(state.retryAt) }),
    });
    this.#state = state;
    if (before.state === state.state && before.message === state.message && before.code === state.code) {
      return false;
    }
    const { log } = this.#options;
    log.info({ event: "identity.state", state: state.state, code: state.code });
    this.#states.offer(note);
    return true;
  }

  throttle({ reason, retryAfterMs }: Throttle): void {
    const retry_after_ms = Math.min(Math.max(0, Math.ceil(retryAfterMs)), LIMITS.timerMs);
    const sentence = clip(reason);
    this.#options.log.warn({ event: "identity.throttled", retry_after_ms });
    this.#throttles.offer(this.#note("throttle", { reason: sentence, retry_after_ms }));
  }

  checkpoint(cursor: Cursor): void {
    this.#checkpoints.offer(cursor);
  }

  /** Sends the waiting reports; never rejects. */
  async flush(): Promise<void> {
    await Promise.all([this.#states.flush(), this.#throttles.flush(), this.#checkpoints.flush()]);
  }

  #note(action: string, payload: Readonly<Record<string, unknown>>): Outgoing {
    const { identityId, workspaceId } = this.#identity;
    return this.#options.author.note(action, workspaceId, { account: identityId, ...payload });
  }
}

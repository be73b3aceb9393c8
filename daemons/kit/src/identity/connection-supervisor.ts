/**
 * The connection supervisor of one linked identity: keeps it connected while the instance is held.
 *
 * starting → (credentials checked out → connector opened) → open, until it is restarted or closed. The
 * connector reconnects by itself and reports states. The supervisor acts only when opening fails or the
 * credentials end: it closes the connection, reports the reason, and opens it again with backoff. A failure
 * that only a person can fix (wrong login, wrong settings) is not retried until something changes. A failure
 * of one identity does not affect another: each connection has its barrier (barrier.ts), and a failure there
 * ends only this connection, which is opened again.
 */
import type { FabricError, SealKeys } from "@linkspan/envelopes";
import type { Outgoing } from "@linkspan/fabric";
import { aborted, backoffMs, childOf, Semaphore, within } from "@linkspan/time";
import type { Logger } from "pino";
import type { Author } from "../bus/author.ts";
import { type Clock, pause } from "../shared/clock.ts";
import type { BridgeState, Connection, Connector, LinkedIdentity } from "../connector.ts";
import type { CoreCalls } from "../bus/core-calls.ts";
import { Pace } from "../outbound/pace.ts";
import { Barrier } from "./barrier.ts";
import type { Carried } from "../inbound/carried.ts";
import { Credentials } from "./credentials.ts";
import { EventStream } from "../inbound/event-stream.ts";
import { failureOf } from "./failure.ts";
import { hostOf } from "./host.ts";
import { EventWriter } from "../inbound/event-writer.ts";
import { RowLane } from "../rows/row-lane.ts";
import { RowSession } from "../rows/row-session.ts";
import { closeConnection, openConnection } from "./opening.ts";
import { Reporter } from "./reporter.ts";
import type { Spacing } from "../shared/spacing.ts";

/** What all identities of one term share. */
export interface SupervisorContext {
  readonly connector: Connector;
  readonly author: Author;
  readonly calls: CoreCalls;
  readonly publish: (message: Outgoing) => Promise<void>;
  readonly sealKeys: SealKeys;
  readonly vaultSealKey: () => Uint8Array | undefined;
  readonly ticketFor: (identityId: string, signal: AbortSignal) => Promise<string>;
  readonly clock: Clock;
  readonly log: Logger;
  /** Aborted when the term ends, for whatever reason. */
  readonly signal: AbortSignal;
  readonly spacing: Spacing;
  readonly checkpointEveryMs: number;
  readonly reopen: { readonly minMs: number; readonly maxMs: number };
  readonly carried: Carried;
  /** Called when a state has changed, because the health may have changed, too. */
  readonly onChange: () => void;
}

/** An open connection, and the barrier through which every call of it goes. */
export interface GuardedConnection {
  readonly connection: Connection;
  readonly barrier: Barrier;
}

const CLOSE_WITHIN_MS = 3_000;
/** How long a closing identity waits for acks. Each ack avoids reading an event twice. */
const LAST_ACKS_WITHIN_MS = 1_000;
const SENDS_AT_ONCE = 8;
const UP: ReadonlySet<string> = new Set(["connected", "backfilling", "running"]);

export class ConnectionSupervisor {
  readonly stream: EventStream;
  readonly pace: Pace;
  /** Conversations of this identity in which a send is in progress. */
  readonly sendSlots = new Semaphore(SENDS_AT_ONCE);
  readonly #context: SupervisorContext;
  readonly #log: Logger;
  readonly #reporter: Reporter;
  readonly #writer: EventWriter;
  readonly #rows: RowLane;
  readonly #closing: AbortController;
  /** Aborted when the last report has been sent, or the term ends. */
  readonly #over: AbortController;
  readonly #waiting = new Set<() => void>();
  #identity: LinkedIdentity;
  #turn: AbortController;
  #connection: GuardedConnection | undefined;
  #done: Promise<void> | undefined;

  constructor(identity: LinkedIdentity, context: SupervisorContext) {
    const { author, publish, clock, checkpointEveryMs, connector } = context;
    this.#identity = identity;
    this.#context = context;
    this.#log = context.log.child({ identity_id: identity.identityId });
    this.#closing = childOf(context.signal);
    this.#turn = childOf(this.#closing.signal);
    this.#over = childOf(context.signal);
    const shared = { publish, clock, log: this.#log, signal: this.#over.signal };
    this.#reporter = new Reporter(identity, { ...shared, author, checkpointEveryMs });
    this.stream = new EventStream({
      ...shared,
      onCheckpoint: (cursor) => this.#reporter.checkpoint(cursor),
    });
    const { carried, signal } = context;
    this.#writer = new EventWriter({
      identity,
      stream: this.stream,
      author,
      carried,
      log: this.#log,
      signal,
    });
    this.#rows = new RowLane(identity, context, this.#log);
    this.pace = new Pace(connector.capabilities.pace, () => clock.monotonicMs());
  }

  get identity(): LinkedIdentity {
    return this.#identity;
  }

  get state(): BridgeState {
    return this.#reporter.current;
  }

  /** The open connection; it may still be connecting. */
  get connection(): GuardedConnection | undefined {
    return this.#connection;
  }

  /** Whether a message can be sent now. */
  get isUp(): boolean {
    return this.#connection !== undefined && UP.has(this.state.state);
  }

  /** @param after what must have ended first, such as an older connection of the same identity */
  start(after: Promise<void> = Promise.resolve()): void {
    this.#done ??= after
      .catch(() => undefined)
      .then(() => this.#run())
      .catch((error: unknown) => this.#log.error({ event: "identity.failed", err: error }));
  }

  /** Opens the connection anew, with other settings if given. */
  restart(identity: LinkedIdentity = this.#identity): void {
    this.#identity = identity;
    this.#turn.abort(new Restart());
  }

  /** Resolves when a message can be sent, or when the time is over. */
  async up(withinMs: number, signal: AbortSignal): Promise<void> {
    if (this.isUp) return;
    const over = childOf(signal);
    const wake = () => over.abort();
    this.#waiting.add(wake);
    await pause(this.#context.clock, withinMs, over.signal);
    this.#waiting.delete(wake);
    over.abort();
  }

  report(state: BridgeState): void {
    if (this.#reporter.state(state)) this.#changed();
  }

  #changed(): void {
    this.#context.onChange();
    if (!this.isUp) return;
    for (const wake of this.#waiting) wake();
  }

  /**
   * Closes the connection, waits a limited time for confirmations, releases the credentials; never rejects.
   */
  async close(last?: BridgeState): Promise<void> {
    this.#closing.abort(new Restart());
    await this.#done;
    if (this.#context.signal.aborted) {
      this.#writer.carryOver();
      return;
    }
    if (last !== undefined) this.report(last);
    await within(CLOSE_WITHIN_MS, this.stream.confirmed());
    await within(LAST_ACKS_WITHIN_MS, this.stream.acknowledgedAll());
    await within(CLOSE_WITHIN_MS, this.#reporter.flush());
    this.#over.abort(new Restart());
  }

  async #run(): Promise<void> {
    for (let failures = 0; !this.#closing.signal.aborted; ) {
      this.#turn = childOf(this.#closing.signal);
      const openedMs = this.#context.clock.monotonicMs();
      const error = await this.#serve(this.#turn);
      this.#turn.abort(new Restart());
      if (this.#closing.signal.aborted) return;
      if (error instanceof Restart) failures = 0;
      else {
        const livedMs = this.#context.clock.monotonicMs() - openedMs;
        failures = livedMs > 60_000 ? 1 : failures + 1;
        await this.#pauseAfter(error, failures);
      }
    }
  }

  /** Runs one connection from open to close. @returns why it ended */
  async #serve(turn: AbortController): Promise<unknown> {
    const { spacing } = this.#context;
    const { signal } = turn;
    const host = childOf(this.#context.signal);
    const barrier = new Barrier({ log: this.#log, onFailure: (error) => turn.abort(error) });
    let credentials: Credentials | undefined;
    try {
      await this.#writer.carryOn();
      await spacing.turn(signal);
      this.report({ state: "starting", message: "The connection is being opened." });
      credentials = await this.#checkOut(turn);
      const connection = await this.#open(credentials, barrier, host, signal);
      this.#connection = { connection, barrier };
      this.#changed();
      await aborted(signal);
      return signal.reason;
    } catch (error) {
      return signal.aborted ? signal.reason : error;
    } finally {
      const open = this.#connection;
      this.#connection = undefined;
      if (open !== undefined) await closeConnection(open.connection, barrier, this.#log);
      host.abort(signal.reason);
      barrier[Symbol.dispose]();
      await credentials?.[Symbol.asyncDispose]();
    }
  }

  /** `signal` aborts opening. An open connection is closed cleanly before `host` is aborted. */
  async #open(
    credentials: Credentials,
    barrier: Barrier,
    ends: AbortController,
    signal: AbortSignal,
  ): Promise<Connection> {
    const { connector, clock } = this.#context;
    const identity = { ...this.#identity, checkpoint: this.stream.cursor ?? this.#identity.checkpoint };
    const cutShort = () => ends.abort(signal.reason);
    signal.addEventListener("abort", cutShort, { once: true });
    const host = hostOf({
      log: this.#log,
      signal: ends.signal,
      barrier,
      credentials,
      rows: new RowSession(this.#rows, ends.signal),
      event: (event) => this.#writer.take(event),
      state: (state) => this.report(state),
      throttle: (throttle) => {
        this.pace.closeFor(throttle.retryAfterMs);
        this.#reporter.throttle(throttle);
      },
    });
    try {
      return await openConnection(identity, host, { connector, barrier, clock, log: this.#log }, signal);
    } finally {
      signal.removeEventListener("abort", cutShort);
    }
  }

  #checkOut(turn: AbortController): Promise<Credentials> {
    const { calls, sealKeys, vaultSealKey, author, clock, ticketFor } = this.#context;
    const { identityId, workspaceId } = this.#identity;
    return Credentials.checkOut(
      {
        calls,
        sealKeys,
        vaultSealKey,
        daemon: author.issuer,
        workspaceId,
        identityId,
        ticket: (signal) => ticketFor(identityId, signal),
        clock,
        log: this.#log,
        lost: (error: FabricError) => turn.abort(error),
      },
      turn.signal,
    );
  }

  async #pauseAfter(error: unknown, failures: number): Promise<void> {
    const { clock, reopen } = this.#context;
    const failure = failureOf(error);
    const { state, message, code } = failure;
    this.#log.warn({ event: "connection.failed", code, failures, err: error });
    this.#turn = childOf(this.#closing.signal);
    if (!failure.retry) {
      this.report({ state, message, code });
      await aborted(this.#turn.signal);
      return;
    }
    const pauseMs = failure.retryAfterMs ?? backoffMs(reopen, failures);
    this.report({ state, message, code, retryAt: new Date(clock.now().getTime() + pauseMs) });
    await pause(clock, pauseMs, this.#turn.signal);
    this.#turn.abort(new Restart());
  }
}

/** Why a connection was closed when there is no fault. */
class Restart extends Error {
  override readonly name = "Restart";
}

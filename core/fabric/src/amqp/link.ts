/**
 * One connection that comes back. It is `up` once its set-up has run; losing it is reported once, then it is
 * opened again after a capped, jittered backoff, for as long as it is not closed. An attempt that fails or is
 * closed before it has succeeded leaves no socket; neither does a connection whose peer has become silent.
 */
import { FabricError } from "@linkspan/envelopes";
import type { ChannelModel } from "amqplib";
import { type Backoff, backoffMs } from "../backoff.ts";
import { type Clock, type Random, Timers, within } from "../clock.ts";
import type { BusListener, LinkName } from "../events.ts";
import { corkEachTurn, destroySocket, dropHugeHeaders } from "./socket.ts";

export interface LinkOptions {
  readonly name: LinkName;
  /** Rejects within a bounded time, and as soon as the signal is aborted. */
  open(signal: AbortSignal): Promise<ChannelModel>;
  /**
   * Restores what lived on the connection; rejecting counts as a failed connection. `isCurrent` says whether
   * the connection is still wanted: a set-up that took too long must not come into effect.
   */
  setUp(connection: ChannelModel, isCurrent: () => boolean): Promise<void>;
  /** Everything on the connection is gone. */
  onDown(): void;
  readonly reconnect: Backoff;
  readonly clock: Clock;
  readonly random: Random;
  readonly listener: BusListener | undefined;
}

/** A peer that does not answer a close must not delay us. */
const CLOSE_MS = 3_000;
const SET_UP_MS = 15_000;
/** How long a call waits for a connection that is being opened again. */
const READY_MS = 30_000;

export class Link {
  readonly #options: LinkOptions;
  #connection: ChannelModel | undefined;
  #ready = Promise.withResolvers<ChannelModel>();
  readonly #closing = new AbortController();
  readonly #timers: Timers;
  #connecting: Promise<void> | undefined;
  #failures = 0;

  constructor(options: LinkOptions) {
    this.#options = options;
    this.#timers = new Timers(options.clock);
    this.#ready.promise.catch(ignoreUnhandled);
  }

  get isUp(): boolean {
    return this.#connection !== undefined;
  }

  get isClosed(): boolean {
    return this.#closing.signal.aborted;
  }

  /** The first connection. @throws FabricError `bus.unavailable` */
  async start(): Promise<void> {
    try {
      await this.#connect();
    } catch (error) {
      await this.close();
      throw unavailable(error);
    }
  }

  /** The connection, once it is up. @throws FabricError `bus.unavailable`: closed, `bus.timeout`: not for half a minute */
  connection(): Promise<ChannelModel> {
    if (this.#connection !== undefined) return Promise.resolve(this.#connection);
    return within(this.#options.clock, READY_MS, "reaching the broker", this.#ready.promise);
  }

  /** Resolves when nothing is left of it. */
  async close(): Promise<void> {
    if (!this.isClosed) {
      const error = new FabricError("bus.unavailable", "this bus is closed");
      this.#closing.abort();
      this.#timers.end();
      this.#ready.reject(error);
      this.#ready = Promise.withResolvers();
      this.#ready.promise.catch(ignoreUnhandled);
      this.#ready.reject(error);
    }
    const connection = this.#connection;
    this.#connection = undefined;
    if (connection !== undefined) await this.#end(connection);
    await this.#connecting?.catch(ignoreUnhandled);
  }

  #connect(): Promise<void> {
    const connecting = this.#attempt().finally(() => {
      if (this.#connecting === connecting) this.#connecting = undefined;
    });
    this.#connecting = connecting;
    return connecting;
  }

  async #attempt(): Promise<void> {
    const { signal } = this.#closing;
    const connection = await this.#options.open(signal);
    corkEachTurn(connection);
    dropHugeHeaders(connection);
    let isCurrent = true;
    let lost: unknown;
    connection.on("error", (error) => {
      lost = error;
    });
    const gone = new Promise<never>((_, reject) => {
      const closed = (error?: Error): void => {
        isCurrent = false;
        // amqplib only ends its side, which a silent peer never answers.
        destroySocket(connection);
        lost ??= error;
        reject(lost instanceof Error ? lost : new Error("the connection was closed"));
        if (this.#connection === connection) this.#lost(lost);
      };
      connection.once("close", closed);
      signal.addEventListener("abort", () => reject(signal.reason as Error), { once: true });
    });
    gone.catch(ignoreUnhandled);
    try {
      signal.throwIfAborted();
      const settingUp = this.#options.setUp(connection, () => isCurrent && !signal.aborted);
      settingUp.catch(ignoreUnhandled);
      await Promise.race([within(this.#options.clock, SET_UP_MS, "the set-up", settingUp), gone]);
      signal.throwIfAborted();
    } catch (error) {
      isCurrent = false;
      this.#options.onDown();
      await this.#end(connection);
      throw error;
    }
    this.#connection = connection;
    this.#options.listener?.({ event: "bus.up", link: this.#options.name, attempt: this.#failures + 1 });
    this.#failures = 0;
    this.#ready.resolve(connection);
  }

  #lost(reason: unknown): void {
    this.#connection = undefined;
    this.#ready = Promise.withResolvers();
    this.#ready.promise.catch(ignoreUnhandled);
    this.#options.onDown();
    this.#retry(reason);
  }

  #retry(reason: unknown): void {
    if (this.isClosed) return;
    const { random, reconnect, listener, name } = this.#options;
    const retryInMs = backoffMs(reconnect, ++this.#failures, random);
    listener?.({ event: "bus.down", link: name, reason: textOf(reason), retryInMs });
    this.#timers.after(retryInMs, () => {
      this.#connect().catch((error: unknown) => this.#retry(error));
    });
  }

  async #end(connection: ChannelModel): Promise<void> {
    try {
      await within(this.#options.clock, CLOSE_MS, "closing", connection.close());
    } catch {
      // Closed already, or the peer is silent: its socket must not live on with consumers behind it.
    } finally {
      destroySocket(connection);
    }
  }
}

export function textOf(reason: unknown): string {
  return reason instanceof Error ? reason.message : String(reason ?? "closed by the broker");
}

export function unavailable(cause: unknown): FabricError {
  if (cause instanceof FabricError) return cause;
  return new FabricError("bus.unavailable", `the broker cannot be used: ${textOf(cause)}`, { cause });
}

/** Its awaiter handles a rejection; without one it is no unhandled rejection. */
function ignoreUnhandled(): void {
  return;
}

/**
 * One connection that comes back. It is `up` once its set-up has run; losing it is told once, then it is
 * opened again after a capped, jittered backoff, for as long as it is not closed.
 */
import { FabricError } from "@linkspan/envelopes";
import type { ChannelModel } from "amqplib";
import { type Backoff, backoffMs } from "../backoff.ts";
import { type Clock, type Random, within } from "../clock.ts";
import type { BusListener, LinkName } from "../events.ts";
import { corkEachTurn, destroySocket } from "./socket.ts";

export interface LinkOptions {
  readonly name: LinkName;
  open(): Promise<ChannelModel>;
  /** Restores what lived on the connection; rejecting counts as a failed connection. */
  setUp(connection: ChannelModel): Promise<void>;
  /** Everything on the connection is gone. */
  onDown(): void;
  readonly reconnect: Backoff;
  readonly clock: Clock;
  readonly random: Random;
  readonly listener: BusListener | undefined;
}

/** A peer that does not answer a close must not keep us. */
const CLOSE_MS = 3_000;
const SET_UP_MS = 15_000;

export class Link {
  readonly #options: LinkOptions;
  #connection: ChannelModel | undefined;
  #ready = Promise.withResolvers<ChannelModel>();
  #closed = false;
  #failures = 0;
  #cancelRetry: (() => void) | undefined;

  constructor(options: LinkOptions) {
    this.#options = options;
    this.#ready.promise.catch(ignoreUnhandled);
  }

  get isUp(): boolean {
    return this.#connection !== undefined;
  }

  get isClosed(): boolean {
    return this.#closed;
  }

  /** The first connection. @throws FabricError `bus.unavailable` */
  async start(): Promise<void> {
    try {
      await this.#connect();
    } catch (error) {
      this.#closed = true;
      throw unavailable(error);
    }
  }

  /** The connection, once it is up. @throws FabricError `bus.unavailable`: closed */
  connection(): Promise<ChannelModel> {
    return this.#ready.promise;
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#cancelRetry?.();
    const error = new FabricError("bus.unavailable", "this bus is closed");
    this.#ready.reject(error);
    this.#ready = Promise.withResolvers();
    this.#ready.promise.catch(ignoreUnhandled);
    this.#ready.reject(error);
    const connection = this.#connection;
    this.#connection = undefined;
    if (connection !== undefined) await this.#end(connection);
  }

  async #connect(): Promise<void> {
    const connection = await this.#options.open();
    corkEachTurn(connection);
    let lost: unknown;
    connection.on("error", (error) => {
      lost = error;
    });
    const gone = new Promise<never>((_, reject) => {
      connection.once("close", (error?: Error) => {
        lost ??= error;
        reject(lost instanceof Error ? lost : new Error("the connection was closed"));
        if (this.#connection === connection) this.#lost(lost);
      });
    });
    gone.catch(ignoreUnhandled);
    try {
      const settingUp = this.#options.setUp(connection);
      await Promise.race([within(this.#options.clock, SET_UP_MS, "the set-up", settingUp), gone]);
    } catch (error) {
      this.#options.onDown();
      await this.#end(connection);
      throw error;
    }
    if (this.#closed) {
      await this.#end(connection);
      return;
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
    if (this.#closed) return;
    const { clock, random, reconnect, listener, name } = this.#options;
    const retryInMs = backoffMs(reconnect, ++this.#failures, random);
    listener?.({ event: "bus.down", link: name, reason: textOf(reason), retryInMs });
    this.#cancelRetry = clock.after(retryInMs, () => {
      if (!this.#closed) this.#connect().catch((error: unknown) => this.#retry(error));
    });
  }

  async #end(connection: ChannelModel): Promise<void> {
    try {
      await within(this.#options.clock, CLOSE_MS, "closing", connection.close());
    } catch {
      // Closed already, or the peer is silent: its socket must not live on with consumers behind it.
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

/** Whoever awaits it handles it; alone it is no unhandled rejection. */
function ignoreUnhandled(): void {
  return;
}

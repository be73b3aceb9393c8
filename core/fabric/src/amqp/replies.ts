/**
 * The reply queue of one process: exclusive, made at the first request, and made again when its connection, its
 * channel or the queue itself is lost.
 */
import type { Channel, ChannelModel } from "amqplib";
import { type Backoff, backoffMs } from "../backoff.ts";
import type { ReplyAddress } from "../bus.ts";
import { type Clock, type Random, Timers, within } from "../clock.ts";
import type { BusListener } from "../events.ts";
import type { Requests } from "../requests.ts";
import { CALL_MS, closeChannel, openChannel } from "./channel.ts";
import { textOf, unavailable } from "./link.ts";
import { bindTransient, declareTransient } from "./topology.ts";
import type { Wire } from "./wire.ts";

export interface RepliesOptions {
  readonly address: ReplyAddress;
  readonly wire: Wire;
  readonly requests: Requests;
  readonly clock: Clock;
  readonly random: Random;
  readonly listener: BusListener | undefined;
  /** The consuming connection while it is up. */
  readonly connection: () => ChannelModel | undefined;
}

interface Opened {
  readonly channel: Channel;
  readonly name: string;
}

const REOPEN: Backoff = { minMs: 50, maxMs: 5_000 };

export class Replies {
  readonly #options: RepliesOptions;
  readonly #timers: Timers;
  #opening: Promise<Opened> | undefined;
  #wanted = false;
  #closed = false;
  #failures = 0;
  #trouble: string | undefined;

  constructor(options: RepliesOptions) {
    this.#options = options;
    this.#timers = new Timers(options.clock);
  }

  /** Why answers do not arrive although the connection is up. */
  get trouble(): string | undefined {
    return this.#trouble;
  }

  /** Resolves when answers arrive. @throws FabricError `bus.unavailable`, `bus.timeout` */
  async ready(connection: ChannelModel): Promise<void> {
    this.#wanted = true;
    this.#opening ??= this.#open(connection);
    const opening = this.#opening;
    try {
      await opening;
      this.#trouble = undefined;
      this.#failures = 0;
    } catch (error) {
      if (this.#opening === opening) this.#opening = undefined;
      throw unavailable(error);
    }
  }

  /** On a new connection. @throws as `ready` */
  async restore(connection: ChannelModel): Promise<void> {
    this.#opening = undefined;
    if (this.#wanted) await this.ready(connection);
  }

  /** Binds it again; the exchange may have been deleted and declared anew. */
  async rebind(): Promise<void> {
    const { clock, address } = this.#options;
    const opened = await this.#opening;
    if (opened !== undefined) await bindTransient(opened.channel, clock, opened.name, [address]);
  }

  close(): void {
    this.#closed = true;
    this.#timers.end();
  }

  /** Its name is new each time: the broker may not know yet that the last one's connection is gone. */
  async #open(connection: ChannelModel): Promise<Opened> {
    const { address, wire, requests, clock } = this.#options;
    const channel = await openChannel(connection, clock);
    const name = `${address}.${crypto.randomUUID()}`;
    let fault: unknown;
    let isOpen = false;
    channel.on("error", (error) => {
      fault = error;
    });
    channel.on("close", () => {
      if (isOpen) this.#lost(channel, fault);
    });
    try {
      await declareTransient(channel, clock, name, [address]);
      const consuming = channel.consume(
        name,
        (message) => {
          if (message !== null) requests.answered(wire.decodeReply(message));
          else void closeChannel(channel, clock);
        },
        { noAck: true },
      );
      await within(clock, CALL_MS, "consuming", consuming);
      isOpen = true;
      return { channel, name };
    } catch (error) {
      if (fault === undefined) {
        await within(clock, CALL_MS, "deleting", channel.deleteQueue(name)).catch(() => undefined);
        await closeChannel(channel, clock);
      }
      throw fault ?? error;
    }
  }

  /** Without it every request would wait in vain. */
  #lost(channel: Channel, reason: unknown): void {
    const opening = this.#opening;
    void opening?.then(
      (opened) => {
        if (opened.channel !== channel || this.#opening !== opening) return;
        this.#opening = undefined;
        if (this.#options.connection() !== undefined) this.#reopenLater(reason);
      },
      () => undefined,
    );
  }

  #reopenLater(reason: unknown): void {
    const { listener, random, connection } = this.#options;
    if (this.#closed) return;
    this.#trouble = `answers are not received: ${textOf(reason ?? "the reply queue is gone")}`;
    listener?.({ event: "bus.fault", reason: this.#trouble });
    const afterMs = this.#failures === 0 ? 0 : backoffMs(REOPEN, this.#failures, random);
    this.#failures++;
    this.#timers.after(afterMs, () => {
      const up = connection();
      // A lost connection restores it by itself; a request may have opened it meanwhile.
      if (up === undefined || this.#opening !== undefined) return;
      this.ready(up).catch((error: unknown) => this.#reopenLater(error));
    });
  }
}

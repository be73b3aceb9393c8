/**
 * The publishing side of a bus: a connection of its own and a confirm channel on it, which is opened again when the
 * broker closes it although the connection is up.
 */
import type { ChannelModel } from "amqplib";
import { backoffMs } from "../backoff.ts";
import type { Timers } from "../clock.ts";
import { closeChannel, codeOf, openConfirmChannel } from "./channel.ts";
import { type Link, type LinkOptions, textOf } from "./link.ts";
import { Publisher } from "./publisher.ts";
import type { PublisherOptions } from "./publisher-options.ts";

export interface PublishingSideOptions {
  readonly publisher: Omit<PublisherOptions, "onChannelLost">;
  readonly link: (rest: Pick<LinkOptions, "setUp" | "onDown">) => Link;
  readonly timers: Timers;
  /** An exchange that is gone closes the channel of whoever publishes to it. */
  readonly onExchangeMissing: (reason: string) => void;
}

const REOPEN = { minMs: 100, maxMs: 10_000 };

export class PublishingSide {
  readonly publisher: Publisher;
  readonly link: Link;
  readonly #options: PublishingSideOptions;
  #trouble: string | undefined;
  #reopenings = 0;
  /** The publisher has a channel. */
  #isAttached = false;

  constructor(options: PublishingSideOptions) {
    this.#options = options;
    this.publisher = new Publisher({
      ...options.publisher,
      onChannelLost: (reason) => this.#onChannelLost(reason),
    });
    this.link = options.link({
      setUp: (on, isCurrent) => this.#setUp(on, isCurrent),
      onDown: () => {
        this.#isAttached = false;
        this.publisher.detach();
      },
    });
  }

  /** Why nothing is published although the connection is up. */
  get trouble(): string | undefined {
    return this.#trouble;
  }

  async #setUp(connection: ChannelModel, isCurrent: () => boolean): Promise<void> {
    const { listener } = this.#options.publisher;
    connection.on("blocked", (reason) => {
      this.publisher.pause(reason);
      listener?.({ event: "bus.blocked", reason });
    });
    connection.on("unblocked", () => {
      listener?.({ event: "bus.unblocked" });
      this.publisher.resume();
    });
    await this.#open(connection, isCurrent);
  }

  async #open(connection: ChannelModel, isCurrent: () => boolean): Promise<void> {
    const { clock } = this.#options.publisher;
    const channel = await openConfirmChannel(connection, clock);
    // A second channel would send again everything that the first one has on the wire.
    if (!isCurrent() || this.#isAttached) {
      await closeChannel(channel, clock);
      return;
    }
    this.#trouble = undefined;
    this.#isAttached = true;
    this.publisher.attach(channel);
  }

  #onChannelLost(reason: unknown): void {
    this.#isAttached = false;
    if (codeOf(reason) === 404) {
      this.#trouble = `cannot publish: ${textOf(reason)}`;
      this.#options.onExchangeMissing(textOf(reason));
    } else this.#reopenings = 0;
    this.#reopen();
  }

  #reopen(): void {
    const { timers, publisher } = this.#options;
    timers.after(backoffMs(REOPEN, Math.min(++this.#reopenings, 5), publisher.random), () => {
      // A connection that was lost opens it itself, perhaps before this.
      if (!this.link.isUp || this.#isAttached) return;
      this.link
        .connection()
        .then((connection) => this.#open(connection, () => this.link.isUp))
        .catch(() => this.#reopen());
    });
  }
}

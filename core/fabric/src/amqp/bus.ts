/**
 * The bus on RabbitMQ (3.10 or 4): one vhost is one namespace. Publishing and consuming have connections
 * of their own, so that a broker that blocks publishers still delivers.
 */
import { FabricError } from "@linkspan/envelopes";
import type { ChannelModel } from "amqplib";
import { backoffMs } from "../backoff.ts";
import type {
  Bus,
  BusHealth,
  Delivery,
  Handler,
  Outgoing,
  QueueSpec,
  ReplyAddress,
  SubscribeOptions,
  Subscription,
} from "../bus.ts";
import { type Clock, type Random, sleep, systemClock } from "../clock.ts";
import type { LinkName } from "../events.ts";
import { limitsOf } from "../intake/options.ts";
import { checkedAddress, replyAddress } from "../peer.ts";
import { Requests } from "../requests.ts";
import { BusTelemetry } from "../telemetry.ts";
import {
  type AmqpBusConfig,
  DEFAULT_CONFIRM_MS,
  DEFAULT_RECONNECT,
  DEFAULT_WAITING,
  DEFAULT_WINDOW,
  openConnection,
} from "./config.ts";
import { Link, unavailable } from "./link.ts";
import { Publisher } from "./publisher.ts";
import { Replies } from "./replies.ts";
import { type Replayed, type ReplayOptions, replayFrom } from "./replay.ts";
import { AmqpSubscription } from "./subscription.ts";
import { declareTopology } from "./topology.ts";
import { type Encoded, Wire } from "./wire.ts";

/** How long closing waits for confirms. */
const FLUSH_MS = 5_000;
/** Two processes that declare at once disturb each other (541); so does a broker that is starting. */
const DECLARE_TRIES = 6;
const DECLARE_BACKOFF = { minMs: 100, maxMs: 2_000 };

export class AmqpBus implements Bus {
  readonly #config: AmqpBusConfig;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #address: ReplyAddress;
  readonly #wire: Wire;
  readonly #telemetry = new BusTelemetry("rabbitmq");
  readonly #requests: Requests;
  readonly #replies: Replies;
  readonly #publisher: Publisher;
  readonly #publishing: Link;
  readonly #consuming: Link;
  readonly #subscriptions = new Set<AmqpSubscription<never>>();
  readonly #declared = new Map<string, QueueSpec>();
  #consumingOn: ChannelModel | undefined;
  #closed: Promise<void> | undefined;

  /** @throws FabricError `bus.unavailable`: the broker cannot be reached or refuses us, `topic.malformed`: the peer's names */
  static async connect(config: AmqpBusConfig): Promise<AmqpBus> {
    const bus = new AmqpBus(config);
    try {
      await Promise.all([bus.#publishing.start(), bus.#consuming.start()]);
    } catch (error) {
      await bus[Symbol.asyncDispose]();
      throw unavailable(error);
    }
    return bus;
  }

  private constructor(config: AmqpBusConfig) {
    this.#config = config;
    this.#clock = config.clock ?? systemClock;
    this.#random = config.random ?? Math.random;
    this.#address = replyAddress(config);
    this.#wire = new Wire(config.userId);
    this.#requests = new Requests(this.#clock);
    this.#replies = new Replies(this.#address, this.#wire, this.#requests);
    this.#publisher = new Publisher({
      ...DEFAULT_WINDOW,
      ...config.window,
      maxWaiting: config.maxWaiting ?? DEFAULT_WAITING,
      confirmTimeoutMs: config.confirmTimeoutMs ?? DEFAULT_CONFIRM_MS,
      clock: this.#clock,
      random: this.#random,
      listener: config.listener,
      onChannelLost: () => this.#reopenPublishing(),
    });
    this.#publishing = this.#link("publish", {
      setUp: (connection) => this.#setUpPublishing(connection),
      onDown: () => this.#publisher.detach(),
    });
    this.#consuming = this.#link("consume", {
      setUp: (connection) => this.#setUpConsuming(connection),
      onDown: () => {
        this.#consumingOn = undefined;
        for (const subscription of this.#subscriptions) subscription.detach();
      },
    });
  }

  async declare(queues: readonly QueueSpec[]): Promise<void> {
    for (let failures = 1; ; failures++) {
      const connection = await this.#consuming.connection();
      try {
        await declareTopology(connection, queues, this.#config.replayBuffer);
        break;
      } catch (error) {
        if (error instanceof FabricError || failures === DECLARE_TRIES) throw unavailable(error);
        await sleep(this.#clock, backoffMs(DECLARE_BACKOFF, failures, this.#random));
      }
    }
    for (const queue of queues) this.#remember(queue);
  }

  publish(message: Outgoing, options?: { readonly signal?: AbortSignal }): Promise<void> {
    return this.#telemetry.send(message, (traced) => this.#publish(traced, options?.signal));
  }

  async subscribe<P = undefined>(
    queue: QueueSpec,
    handler: Handler<P>,
    options?: SubscribeOptions,
  ): Promise<Subscription> {
    const subscription = new AmqpSubscription<P>({
      spec: queue,
      handler,
      limits: limitsOf(options),
      wire: this.#wire,
      publisher: this.#publisher,
      listener: this.#config.listener,
      connection: () => this.#consumingOn,
      onDrained: () => this.#subscriptions.delete(known),
      intake: {
        clock: this.#clock,
        random: this.#random,
        patience: this.#config.patience,
        observe: (items, run) => this.#telemetry.process(queue.name, items, run),
      },
    });
    const known = subscription as unknown as AmqpSubscription<never>;
    for (;;) {
      const connection = await this.#consuming.connection();
      try {
        await subscription.attach(connection);
        break;
      } catch (error) {
        // Lost in between: once more, on the next connection.
        if (connection === this.#consumingOn) throw unavailable(error);
      }
    }
    this.#subscriptions.add(known);
    return subscription;
  }

  async request(
    message: Outgoing,
    options: { readonly timeoutMs: number; readonly signal?: AbortSignal },
  ): Promise<Delivery> {
    const addressed = { ...message, replyTo: this.#address };
    return this.#requests.send(
      async (outgoing, how) => {
        await this.#replies.ready(await this.#consuming.connection());
        await this.publish(outgoing, how);
      },
      addressed,
      options,
    );
  }

  async reply(to: ReplyAddress, message: Outgoing): Promise<void> {
    await this.#publisher.publish(this.#wire.encodeReply(checkedAddress(to), message));
  }

  /** @throws FabricError `bus.unavailable`: no replay buffer is declared, or the connection is lost meanwhile */
  async *replay(options: ReplayOptions): AsyncGenerator<Replayed, void> {
    yield* replayFrom(await this.#consuming.connection(), this.#wire, this.#clock, options);
  }

  health(): BusHealth {
    if (this.#closed !== undefined) return { state: "closed" };
    if (!this.#publishing.isUp || !this.#consuming.isUp) return { state: "reconnecting" };
    const reason = this.#publisher.blocked;
    return reason === undefined ? { state: "up" } : { state: "blocked", reason };
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  #publish(message: Outgoing, signal: AbortSignal | undefined): Promise<void> {
    let encoded: Encoded;
    try {
      encoded = this.#wire.encode(message);
    } catch (error) {
      return Promise.reject(error instanceof Error ? error : new Error(String(error)));
    }
    return this.#publisher.publish(encoded, signal);
  }

  #link(name: LinkName, rest: { setUp(connection: ChannelModel): Promise<void>; onDown(): void }): Link {
    return new Link({
      name,
      open: () => openConnection(this.#config, name),
      reconnect: this.#config.reconnect ?? DEFAULT_RECONNECT,
      clock: this.#clock,
      random: this.#random,
      listener: this.#config.listener,
      ...rest,
    });
  }

  async #setUpPublishing(connection: ChannelModel): Promise<void> {
    const { listener } = this.#config;
    connection.on("blocked", (reason) => {
      this.#publisher.pause(reason);
      listener?.({ event: "bus.blocked", reason });
    });
    connection.on("unblocked", () => {
      listener?.({ event: "bus.unblocked" });
      this.#publisher.resume();
    });
    this.#publisher.attach(await connection.createConfirmChannel());
  }

  #reopenPublishing(): void {
    this.#clock.after(backoffMs(DEFAULT_RECONNECT, 1, this.#random), () => {
      if (!this.#publishing.isUp) return; // the connection's own recovery opens it
      this.#publishing
        .connection()
        .then(async (connection) => this.#publisher.attach(await connection.createConfirmChannel()))
        .catch(() => this.#reopenPublishing());
    });
  }

  async #setUpConsuming(connection: ChannelModel): Promise<void> {
    if (this.#declared.size > 0) {
      await declareTopology(connection, [...this.#declared.values()], this.#config.replayBuffer);
    }
    await this.#replies.restore(connection);
    this.#consumingOn = connection;
    for (const subscription of this.#subscriptions) void subscription.restore(connection);
  }

  #remember(queue: QueueSpec): void {
    const known = this.#declared.get(queue.name);
    const bindings = [...(known?.bindings ?? []), ...queue.bindings];
    this.#declared.set(queue.name, { ...queue, bindings });
  }

  async #close(): Promise<void> {
    await Promise.all([...this.#subscriptions].map((subscription) => subscription.drain()));
    const flushed = new AbortController();
    await Promise.race([this.#publisher.flushed(), sleep(this.#clock, FLUSH_MS, flushed.signal)]);
    flushed.abort();
    const error = new FabricError("bus.unavailable", "this bus is closed");
    this.#publisher.close(error);
    this.#requests.failAll(error);
    await Promise.all([this.#publishing.close(), this.#consuming.close()]);
  }
}

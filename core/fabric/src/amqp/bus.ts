/**
 * The bus on RabbitMQ (3.10 or 4): one vhost is one namespace. Publishing and consuming have connections
 * of their own, so that a broker that blocks publishers still delivers.
 */
import { FabricError, isReserved } from "@linkspan/envelopes";
import type { ChannelModel } from "amqplib";
import type {
  Bus,
  BusHealth,
  Delivery,
  Handler,
  Outgoing,
  PublishOptions,
  QueueSpec,
  ReplyAddress,
  RequestOptions,
  SubscribeOptions,
  Subscription,
} from "../bus.ts";
import { type Clock, type Random, systemClock, Timers, within } from "../clock.ts";
import type { LinkName } from "../events.ts";
import { limitsOf } from "../intake/options.ts";
import { checkedAddress, replyAddress } from "../peer.ts";
import { Requests } from "../requests.ts";
import { BusTelemetry } from "../telemetry.ts";
import {
  type AmqpBusConfig,
  DEFAULT_CONFIRM_MS,
  DEFAULT_RECONNECT,
  DEFAULT_TOPOLOGY_CHECK_MS,
  DEFAULT_WAITING,
  DEFAULT_WAITING_BYTES,
  DEFAULT_WINDOW,
  openConnection,
} from "./config.ts";
import { Declarations } from "./declarations.ts";
import { Link, type LinkOptions, textOf, unavailable } from "./link.ts";
import type { Publisher } from "./publisher.ts";
import { PublishingSide } from "./publishing-side.ts";
import { Replies } from "./replies.ts";
import { type Replayed, type ReplayOptions, replayFrom } from "./replay.ts";
import { AmqpSubscription } from "./subscription.ts";
import { type Encoded, Wire } from "./wire.ts";

/** How long closing waits for handlers and confirms together; after it only the connections are closed. */
const CLOSE_MS = 10_000;

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
  readonly #publishing: PublishingSide;
  readonly #consuming: Link;
  readonly #subscriptions = new Set<AmqpSubscription<never>>();
  readonly #declarations: Declarations;
  readonly #timers: Timers;
  #consumingOn: ChannelModel | undefined;
  #closed: Promise<void> | undefined;

  /** @throws FabricError `bus.unavailable`: the broker cannot be reached or refuses us, `topic.malformed`: the peer's names */
  static async connect(config: AmqpBusConfig): Promise<AmqpBus> {
    const bus = new AmqpBus(config);
    try {
      await Promise.all([bus.#publishing.link.start(), bus.#consuming.start()]);
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
    this.#timers = new Timers(this.#clock);
    this.#wire = new Wire(config);
    this.#requests = new Requests(this.#clock);
    const shared = { clock: this.#clock, random: this.#random, listener: config.listener };
    const connection = (): ChannelModel | undefined => this.#consumingOn;
    this.#replies = new Replies({
      ...shared,
      connection,
      address: this.#address,
      wire: this.#wire,
      requests: this.#requests,
    });
    this.#declarations = new Declarations({
      ...shared,
      connection,
      isOwner: config.ownsTopology ?? isReserved(config.service),
      replay: config.replayBuffer,
      checkMs: config.topologyCheckMs ?? DEFAULT_TOPOLOGY_CHECK_MS,
      rebind: () => this.#rebind(),
    });
    const publishing = new PublishingSide({
      publisher: {
        ...DEFAULT_WINDOW,
        ...config.window,
        maxWaiting: config.maxWaiting ?? DEFAULT_WAITING,
        maxWaitingBytes: config.maxWaitingBytes ?? DEFAULT_WAITING_BYTES,
        confirmTimeoutMs: config.confirmTimeoutMs ?? DEFAULT_CONFIRM_MS,
        ...shared,
      },
      link: (rest) => this.#link("publish", rest),
      timers: this.#timers,
      onExchangeMissing: (reason) => this.#declarations.missing(reason),
    });
    this.#publishing = publishing;
    this.#publisher = publishing.publisher;
    this.#consuming = this.#link("consume", {
      setUp: (on, isCurrent) => this.#setUpConsuming(on, isCurrent),
      onDown: () => {
        this.#consumingOn = undefined;
        for (const subscription of this.#subscriptions) subscription.detach();
      },
    });
  }

  declare(queues: readonly QueueSpec[]): Promise<void> {
    return this.#declarations.declare(() => this.#consuming.connection(), queues);
  }

  publish(message: Outgoing, options?: PublishOptions): Promise<void> {
    return this.#telemetry.send(message, (traced) => this.#publish(traced, options));
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
      declared: () => this.#declarations.bindingsOf(queue.name),
      repair: () => this.#declarations.repair(),
      onDrained: () => this.#subscriptions.delete(known),
      intake: {
        clock: this.#clock,
        random: this.#random,
        patience: this.#config.patience,
        onStuck: (change) => this.#telemetry.stuck(queue.name, change),
        observe: (items, run) => this.#telemetry.process(queue.name, items, run),
      },
    });
    const known = subscription as unknown as AmqpSubscription<never>;
    try {
      await this.#attachFirst(subscription);
    } catch (error) {
      await subscription.drain();
      throw unavailable(error);
    }
    this.#subscriptions.add(known);
    this.#declarations.watch();
    return subscription;
  }

  async request(message: Outgoing, options: RequestOptions): Promise<Delivery> {
    const addressed = { ...message, replyTo: this.#address };
    this.#declarations.watch();
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
    if (!this.#publishing.link.isUp || !this.#consuming.isUp) return { state: "reconnecting" };
    const stuck = [...this.#subscriptions].flatMap((subscription) => subscription.stuck);
    const found = stuck.length === 0 ? {} : { stuck };
    const blocked = this.#publisher.blocked;
    if (blocked !== undefined) return { state: "blocked", reason: blocked, ...found };
    const trouble = this.#trouble();
    if (trouble !== undefined) return { state: "degraded", reason: trouble, ...found };
    return { state: "up", ...found };
  }

  giveUp(queue: string, messageId: string): boolean {
    const own = [...this.#subscriptions].filter((subscription) => subscription.queue === queue);
    return own.some((subscription) => subscription.giveUp(messageId));
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  #publish(message: Outgoing, options: PublishOptions | undefined): Promise<void> {
    let encoded: Encoded;
    try {
      encoded = this.#wire.encode(message);
    } catch (error) {
      return Promise.reject(error instanceof Error ? error : new Error(String(error)));
    }
    return this.#publisher.publish(encoded, options);
  }

  #link(name: LinkName, rest: Pick<LinkOptions, "setUp" | "onDown">): Link {
    return new Link({
      name,
      open: (signal) => openConnection(this.#config, name, signal),
      reconnect: this.#config.reconnect ?? DEFAULT_RECONNECT,
      clock: this.#clock,
      random: this.#random,
      listener: this.#config.listener,
      ...rest,
    });
  }

  /** Lost in between: once more, on the next connection. */
  async #attachFirst(subscription: { attach(connection: ChannelModel): Promise<void> }): Promise<void> {
    for (;;) {
      const connection = await this.#consuming.connection();
      try {
        await subscription.attach(connection);
      } catch (error) {
        if (connection === this.#consumingOn || this.#closed !== undefined) throw error;
        continue;
      }
      if (this.#closed !== undefined) throw new FabricError("bus.unavailable", "this bus is closed");
      if (connection === this.#consumingOn) return;
    }
  }

  async #setUpConsuming(connection: ChannelModel, isCurrent: () => boolean): Promise<void> {
    await this.#declarations.restore(connection);
    await this.#replies.restore(connection);
    if (!isCurrent()) return;
    this.#consumingOn = connection;
    for (const subscription of this.#subscriptions) void subscription.restore(connection);
  }

  async #rebind(): Promise<void> {
    await this.#replies.rebind();
    for (const subscription of this.#subscriptions) await subscription.rebind();
  }

  #trouble(): string | undefined {
    const own = this.#declarations.trouble ?? this.#replies.trouble ?? this.#publishing.trouble;
    if (own !== undefined) return own;
    for (const { queue, trouble } of this.#subscriptions) {
      if (trouble !== undefined) return `${queue} is not consumed: ${trouble}`;
    }
    return undefined;
  }

  /** Settlements and confirms that a silent broker never answers are given up after a while. */
  async #close(): Promise<void> {
    this.#declarations.close();
    this.#replies.close();
    const finishing = Promise.all([...this.#subscriptions].map((subscription) => subscription.drain())).then(
      () => this.#publisher.flushed(),
    );
    await within(this.#clock, CLOSE_MS, "finishing", finishing).catch((error: unknown) =>
      this.#config.listener?.({ event: "bus.fault", reason: textOf(error) }),
    );
    const error = new FabricError("bus.unavailable", "this bus is closed");
    this.#timers.end();
    this.#publisher.close(error);
    this.#requests.failAll(error);
    await Promise.all([this.#publishing.link.close(), this.#consuming.close()]);
  }
}

/** One client of the embedded broker; `drop` and `kill` are its crashes. */
import { FabricError, routingKey } from "@linkspan/envelopes";
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
import { sleep, Timers } from "../clock.ts";
import { Deque } from "../deque.ts";
import type { BusListener } from "../events.ts";
import { asId, checkOutgoing, correlationOf } from "../headers.ts";
import { limitsOf } from "../intake/options.ts";
import { checkedAddress } from "../peer.ts";
import { Requests } from "../requests.ts";
import { BusTelemetry } from "../telemetry.ts";
import type { Exchange } from "./exchange.ts";
import type { Publication } from "./receipt.ts";
import { EmbeddedSubscription } from "./subscription.ts";

/** A message on its way to the broker, or there and unconfirmed. */
interface Sending extends Publication {
  readonly message: Outgoing;
  /** Of an answer: the one client that it goes to. */
  readonly to: ReplyAddress | undefined;
  readonly onWritten: (() => void) | undefined;
  arrivesAt: number;
}

/** How long closing waits for confirms. */
const FLUSH_MS = 5_000;

export class EmbeddedBus implements Bus {
  readonly #broker: Exchange;
  readonly #address: ReplyAddress;
  readonly #listener: BusListener | undefined;
  readonly #requests: Requests;
  readonly #telemetry = new BusTelemetry("linkspan");
  readonly #subscriptions = new Set<EmbeddedSubscription<never>>();
  readonly #wire = new Deque<Sending>();
  /** In the order of publication. */
  readonly #unconfirmed = new Set<Sending>();
  readonly #timers: Timers;
  #unconfirmedBytes = 0;
  #state: BusHealth["state"] = "up";
  #lastArrival = 0;
  #carrying = false;
  #closed: Promise<void> | undefined;

  constructor(broker: Exchange, address: ReplyAddress, listener: BusListener | undefined) {
    this.#broker = broker;
    this.#address = address;
    this.#listener = listener;
    this.#requests = new Requests(broker.clock);
    this.#timers = new Timers(broker.clock);
  }

  async declare(queues: readonly QueueSpec[]): Promise<void> {
    if (this.#state === "closed") throw closed();
    this.#broker.declare(queues);
  }

  publish(message: Outgoing, options: PublishOptions = {}): Promise<void> {
    return this.#telemetry.send(message, (traced) => this.#send(traced, undefined, options));
  }

  async subscribe<P = undefined>(
    queue: QueueSpec,
    handler: Handler<P>,
    options?: SubscribeOptions,
  ): Promise<Subscription> {
    if (this.#state === "closed") throw closed();
    this.#broker.checkDeclared(queue);
    const subscription = new EmbeddedSubscription<P>({
      broker: this.#broker,
      spec: queue,
      handler,
      limits: limitsOf(options),
      telemetry: this.#telemetry,
      listener: this.#listener,
      onDelivery: () => this.#maybeDrop(),
      onDrained: () => this.#subscriptions.delete(known),
    });
    const known = subscription as unknown as EmbeddedSubscription<never>;
    if (this.#state === "up") subscription.attach();
    this.#subscriptions.add(known);
    return subscription;
  }

  request(message: Outgoing, options: RequestOptions): Promise<Delivery> {
    const addressed = { ...message, replyTo: this.#address };
    return this.#requests.send((outgoing, how) => this.publish(outgoing, how), addressed, options);
  }

  async reply(to: ReplyAddress, message: Outgoing): Promise<void> {
    await this.#send({ ...message, mandatory: false }, checkedAddress(to), {});
  }

  health(): BusHealth {
    const stuck = [...this.#subscriptions].flatMap((subscription) => subscription.stuck);
    return { state: this.#state, ...(stuck.length > 0 && { stuck }) };
  }

  giveUp(queue: string, messageId: string): boolean {
    const own = [...this.#subscriptions].filter((subscription) => subscription.queue === queue);
    return own.some((subscription) => subscription.giveUp(messageId));
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  /** Loses the connection and comes back by itself, as after a network fault. */
  drop(): void {
    if (this.#state !== "up") return;
    this.#state = "reconnecting";
    for (const subscription of this.#subscriptions) subscription.detach();
    const retryInMs = this.#broker.faults.reconnectMs?.() ?? 10;
    this.#listener?.({ event: "bus.down", link: "embedded", reason: "dropped", retryInMs });
    this.#timers.after(retryInMs, () => this.#reconnect());
  }

  /** The process is gone: it settles nothing and sends nothing more. */
  kill(): void {
    if (this.#state === "closed") return;
    this.#state = "closed";
    for (const subscription of this.#subscriptions) subscription.detach();
    this.#end();
  }

  /** @internal */
  answered(delivery: Delivery): void {
    if (this.#state === "up") this.#requests.answered(delivery);
  }

  #send(
    message: Outgoing,
    to: ReplyAddress | undefined,
    { signal, onWritten }: PublishOptions,
  ): Promise<void> {
    if (this.#state === "closed") return Promise.reject(closed());
    const size = message.body.length;
    if (this.#unconfirmed.size > 0 && this.#unconfirmedBytes + size > this.#broker.maxUnconfirmedBytes) {
      return Promise.reject(new FabricError("bus.unavailable", "too many bytes wait for the broker"));
    }
    return new Promise<void>((resolve, reject) => {
      routingKey(message.route);
      checkOutgoing(message);
      const abort = (): void => sending.reject(new FabricError("bus.timeout", "the publish was called off"));
      const settle = (): boolean => {
        signal?.removeEventListener("abort", abort);
        if (!this.#unconfirmed.delete(sending)) return false;
        this.#unconfirmedBytes -= size;
        return true;
      };
      const sending: Sending = {
        message,
        to,
        onWritten,
        arrivesAt: 0,
        resolve: () => {
          if (settle()) resolve();
        },
        reject: (error) => {
          if (settle()) reject(error);
        },
      };
      this.#unconfirmed.add(sending);
      this.#unconfirmedBytes += size;
      if (signal?.aborted) {
        abort();
        return;
      }
      signal?.addEventListener("abort", abort, { once: true });
      this.#enqueue(sending);
    });
  }

  #enqueue(sending: Sending): void {
    const { clock, faults } = this.#broker;
    this.#lastArrival = Math.max(this.#lastArrival, clock.now() + (faults.wireMs?.() ?? 0));
    sending.arrivesAt = this.#lastArrival;
    this.#wire.push(sending);
    this.#carry();
  }

  #carry(): void {
    const next = this.#wire.peek();
    if (this.#carrying || next === undefined || this.#state !== "up") return;
    this.#carrying = true;
    this.#timers.after(next.arrivesAt - this.#broker.clock.now(), () => {
      this.#carrying = false;
      this.#arrive();
    });
  }

  #arrive(): void {
    const now = this.#broker.clock.now();
    while (this.#state === "up") {
      const next = this.#wire.peek();
      if (next === undefined || next.arrivesAt > now) break;
      this.#wire.shift();
      if (this.#unconfirmed.has(next)) {
        next.onWritten?.();
        this.#deliver(next);
      }
      this.#maybeDrop();
    }
    this.#carry();
  }

  #deliver({ message, to, ...publication }: Sending): void {
    if (to === undefined) {
      this.#broker.route(message, publication);
      return;
    }
    const { route, body, kid, sig, messageId, traceparent } = message;
    const death = undefined;
    const correlationId = correlationOf(message);
    const inReplyTo = message.inReplyTo ?? asId(correlationId);
    const rest = { replyTo: undefined, correlationId, redelivered: false, attempt: 1, death, traceparent };
    this.#broker.answer(to, { route, body, kid, sig, messageId, inReplyTo, ...rest });
    publication.resolve();
  }

  #maybeDrop(): void {
    if (this.#broker.faults.drops?.(this.#address)) this.drop();
  }

  #reconnect(): void {
    if (this.#state !== "reconnecting") return;
    this.#state = "up";
    this.#listener?.({ event: "bus.up", link: "embedded", attempt: 1 });
    for (const subscription of this.#subscriptions) subscription.attach();
    this.#wire.clear();
    for (const sending of this.#unconfirmed) this.#enqueue(sending);
  }

  async #close(): Promise<void> {
    await Promise.all([...this.#subscriptions].map((subscription) => subscription.drain()));
    const { clock } = this.#broker;
    const deadline = clock.now() + FLUSH_MS;
    while (this.#unconfirmed.size > 0 && clock.now() < deadline && this.#state !== "closed") {
      await sleep(clock, 5);
    }
    this.#state = "closed";
    this.#end();
  }

  #end(): void {
    this.#timers.end();
    this.#broker.disconnect(this.#address);
    this.#wire.clear();
    for (const sending of this.#unconfirmed) sending.reject(closed());
    this.#requests.failAll(closed());
  }
}

function closed(): FabricError {
  return new FabricError("bus.unavailable", "this bus is closed");
}

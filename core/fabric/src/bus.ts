/**
 * The bus: the interface through which every part of Linkspan uses the message broker.
 *
 * Obligations that each driver fulfils, and the contract suite proves:
 *
 * - A publish resolves only when the message is safe: stored by a broker, or settled by its consumer
 *   where the broker keeps nothing. It rejects with `bus.unroutable` when no queue takes a mandatory
 *   message. Across a reconnect, unconfirmed messages are sent again, in order, before newer ones.
 * - Deliveries of one queue reach one consumer at a time (single active consumer), in publish order.
 * - `prepare` of the next batch may overlap; `handle` is strictly serial per subscription.
 * - A message that must be retried holds only its own ordering key; others pass it. The broker's
 *   requeue is never used to retry.
 * - A handler that rejects gets the same batch again after a backoff, then halves of it. Only a message
 *   alone in flight can be given up, and only for an error that its own content causes (`blameOf` of the table
 *   of codes). Everything else is tried again at growing intervals; the message holds only its own key meanwhile.
 *   An error that is no FabricError counts against the message only while others succeed: after 50 failures
 *   alone over at least ten minutes, each after a success of another message since the failure before, it goes
 *   to the dead letters as `internal`. Any failure that the surroundings cause starts that count again.
 * - What fails alone again and again is reported (`bus.message_stuck`, health, metric); `giveUp` is for the person
 *   who looks into it.
 * - What is refused, times out, is called off or closed in the middle of an attempt leaves nothing behind: no
 *   timer, no consumer, no queue of its own, no retry.
 * - In flight is bounded by count and bytes; a full consumer slows its producer. So is what waits to be published.
 */
import type { ErrorCode, Route } from "@linkspan/envelopes";

/** A message to publish. The bus carries bytes; it never reads them. */
export interface Outgoing {
  readonly route: Route;
  /** 1 to 1,048,576 bytes; must not change after the call. The bus refuses more than twice as much. */
  readonly body: Uint8Array;
  /** Signing key id and detached signature (base64url, no padding); absent on unsigned messages. */
  readonly kid?: string;
  readonly sig?: string;
  readonly messageId: string;
  /** `message_id` that this answers; how a reply finds its request. */
  readonly inReplyTo?: string;
  /**
   * Of an answer: what its request carried, repeated. Default of a request: its `messageId`; of anything else:
   * `inReplyTo`.
   */
  readonly correlationId?: string | undefined;
  /** Where an answer goes; set by `request`. */
  readonly replyTo?: ReplyAddress;
  /**
   * False: no error when nobody listens (acks, fan-out, replies), and no promise beyond the routing: a bus
   * that keeps nothing confirms it then. Default true.
   */
  readonly mandatory?: boolean;
  /** Dropped by the bus when older than this, milliseconds. */
  readonly ttlMs?: number;
  readonly traceparent?: string;
}

/** Opaque return address of one process (AMQP: a routing key of its exclusive queue). */
export type ReplyAddress = string;

/** A message received. `body` is the published bytes, unchanged. */
export interface Delivery {
  /** Of a dead letter, the one that it had; `unknown` where its routing key was none. */
  readonly route: Route;
  readonly body: Uint8Array;
  readonly kid: string | undefined;
  readonly sig: string | undefined;
  readonly messageId: string | undefined;
  readonly inReplyTo: string | undefined;
  /** What the sender relates it to; an answer repeats that of its request. */
  readonly correlationId: string | undefined;
  readonly replyTo: ReplyAddress | undefined;
  readonly traceparent: string | undefined;
  /** True when a consumer may have seen it before. */
  readonly redelivered: boolean;
  /** 1 on the first hand-over to this subscription's handler; again 1 after a lost connection. */
  readonly attempt: number;
  /** Only on the dead-letter queue: why it died. */
  readonly death: Death | undefined;
}

export interface Death {
  readonly code: ErrorCode;
  readonly detail: string;
  readonly queue: string;
}

/** The decision of a handler. The bus settles the delivery once, from this value. */
export type Verdict = Decision | Later;

export type Decision =
  | { readonly do: "ack" }
  | { readonly do: "retry"; readonly afterMs: number }
  | { readonly do: "dead"; readonly code: ErrorCode; readonly detail?: string };

/**
 * The handler decides later: until then the delivery's key waits, and others pass. A rejection counts as a failure
 * of this delivery alone.
 */
export interface Later {
  readonly do: "later";
  readonly decision: Promise<Decision>;
}

export const ACK: Decision = { do: "ack" };

/** Matches routes; an absent member matches any value. */
export interface Binding {
  readonly service?: string;
  readonly instance?: string;
  readonly action?: string;
  readonly partition?: number;
}

/**
 * A named queue and what it collects. `partition` queues are durable with a single active consumer;
 * `shared` ones are durable and hand each message to any one of their consumers; `transient` ones live
 * with their subscriber.
 */
export interface QueueSpec {
  readonly name: string;
  readonly kind: "partition" | "shared" | "transient";
  readonly bindings: readonly Binding[];
}

/** Where `dead` verdicts go, with code and original bytes. Every driver declares it. */
export const DEAD_LETTERS: QueueSpec = { name: "bridge.dead", kind: "shared", bindings: [] };

export interface Handler<P> {
  /** Pure work that may overlap with `handle` of an earlier batch, such as verifying signatures. */
  prepare?(batch: readonly Delivery[]): Promise<readonly P[]>;
  /**
   * One verdict per delivery, in order. Rejecting means: nothing was done. What follows a `retry` or `later` of its
   * own key in the batch must be a `retry`: the bus keeps them in order, but cannot undo an effect.
   */
  handle(batch: readonly Prepared<P>[]): Promise<readonly Verdict[]>;
  /** Deliveries with equal keys stay in order through retries; absent: the whole queue is one key. */
  keyOf?(delivery: Prepared<P>): string;
}

export interface Prepared<P> {
  readonly delivery: Delivery;
  readonly value: P;
}

export interface SubscribeOptions {
  /** Largest batch, default 500. */
  readonly maxBatch?: number;
  /** How long an incomplete batch waits for more, milliseconds, default 5. */
  readonly lingerMs?: number;
  /** Bound on deliveries held by this subscription, default 1,000. */
  readonly maxInFlight?: number;
  /** Bound on their bytes, default 16 MiB. */
  readonly maxBytes?: number;
}

export interface PublishOptions {
  readonly signal?: AbortSignal;
  /** Called when the message is about to leave this process; until then nobody else can have it. */
  readonly onWritten?: () => void;
}

export interface RequestOptions extends PublishOptions {
  readonly timeoutMs: number;
}

export interface Subscription extends AsyncDisposable {
  readonly queue: string;
  /** Stops intake, lets what is in flight finish and settles it. */
  drain(): Promise<void>;
}

export interface Bus extends AsyncDisposable {
  /** Creates queues and bindings; repeating it changes nothing. One process does it per namespace. */
  declare(queues: readonly QueueSpec[]): Promise<void>;

  /**
   * Resolves once the message is safe; see above.
   *
   * @throws FabricError `bus.unroutable`, `bus.unavailable` (closed, or too much waits), `bus.timeout` (signal
   *   aborted first), `topic.malformed`, `envelope.too_large`, `envelope.schema` (a header); where the broker keeps nothing and nobody takes dead letters, the code
   *   that it died of
   */
  publish(message: Outgoing, options?: PublishOptions): Promise<void>;

  /**
   * Resolves once deliveries can come; from then on it survives lost connections.
   *
   * @throws FabricError `bus.unavailable`: closed, or the queue is not declared yet
   */
  subscribe<P = undefined>(
    queue: QueueSpec,
    handler: Handler<P>,
    options?: SubscribeOptions,
  ): Promise<Subscription>;

  /**
   * Publishes and waits for the one answer whose `inReplyTo` is this `messageId`, or that has none and repeats it as
   * its `correlationId`.
   *
   * @throws FabricError `bus.timeout`, `bus.unroutable`, `bus.unavailable`
   */
  request(message: Outgoing, options: RequestOptions): Promise<Delivery>;

  /** Sends an answer to a return address; one that is gone is not an error. @throws FabricError `topic.malformed` */
  reply(to: ReplyAddress, message: Outgoing): Promise<void>;

  /**
   * A person's decision: a message that fails alone again and again in a subscription of this client goes to
   * the dead letters with the code `internal`, from where it can be retried.
   *
   * @returns false when it is not stuck here, or is being tried at this moment
   */
  giveUp(queue: string, messageId: string): boolean;

  /** Whether messages move now; `reason` is for people. */
  health(): BusHealth;
}

export interface BusHealth {
  /** `degraded`: connected, but something that this client consumes or declared is missing; it is mended by itself. */
  readonly state: "up" | "degraded" | "blocked" | "reconnecting" | "closed";
  readonly reason?: string;
  /** Messages that fail alone again and again; each subscription lists at most 100. Absent: nothing does. */
  readonly stuck?: readonly StuckMessage[];
}

/** A message that is tried again and again, alone, and holds its key meanwhile. */
export interface StuckMessage {
  readonly queue: string;
  readonly messageId: string | undefined;
  readonly failures: number;
  readonly forMs: number;
  /** Of the last failure; `internal` for anything but a FabricError. */
  readonly code: ErrorCode;
}

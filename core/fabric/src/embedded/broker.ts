/**
 * An in-process broker for one namespace. It keeps nothing: a mandatory publish is confirmed when its
 * consumers have settled it, so what is confirmed is durable wherever they put it. Non-mandatory messages
 * (acks, fan-out, replies) are promised nothing and confirmed when routed.
 *
 * With a virtual clock and seeded faults it is the simulator.
 */
import { randomUUID } from "node:crypto";
import { FabricError, type Route, routingKey } from "@linkspan/envelopes";
import type { Patience } from "../backoff.ts";
import { matches } from "../binding.ts";
import { DEAD_LETTERS, type Death, type Delivery, type Outgoing, type QueueSpec } from "../bus.ts";
import { type Clock, type Random, systemClock } from "../clock.ts";
import type { BusListener } from "../events.ts";
import { type Peer, replyAddress } from "../peer.ts";
import { EmbeddedBus } from "./bus.ts";
import type { Exchange } from "./exchange.ts";
import type { Faults } from "./faults.ts";
import { type Memory, Queue, type QueueLimits } from "./queue.ts";
import { type Publication, Receipt } from "./receipt.ts";

export interface EmbeddedBrokerOptions {
  readonly clock?: Clock;
  readonly random?: Random;
  readonly faults?: Faults;
  readonly patience?: Patience;
  /** Bounds of each queue; beyond them a publish rejects with `bus.unavailable`. Default 100,000 and 256 MiB. */
  readonly queueLimits?: QueueLimits;
  /** Bytes that wait in all queues together; beyond it a publish rejects with `bus.unavailable`. Default 256 MiB. */
  readonly maxBytes?: number;
  /** Bytes of one client's publishes that are not confirmed; beyond it they reject likewise. Default 64 MiB. */
  readonly maxUnconfirmedBytes?: number;
}

export interface ConnectOptions {
  readonly listener?: BusListener;
}

const MIB = 1024 * 1024;
const DEFAULT_LIMITS: QueueLimits = { maxCount: 100_000, maxBytes: 256 * MIB };

export class EmbeddedBroker implements Exchange {
  readonly clock: Clock;
  readonly random: Random;
  readonly faults: Faults;
  readonly patience: Patience | undefined;
  readonly maxUnconfirmedBytes: number;
  readonly #limits: QueueLimits;
  readonly #memory: Memory;
  readonly #queues = new Map<string, Queue>();
  readonly #transient = new Set<Queue>();
  readonly #clients = new Map<string, EmbeddedBus>();
  /** Queues by routing key; forgotten when a binding changes. */
  readonly #routes = new Map<string, readonly Queue[]>();

  constructor(options: EmbeddedBrokerOptions = {}) {
    this.clock = options.clock ?? systemClock;
    this.random = options.random ?? Math.random;
    this.faults = options.faults ?? {};
    this.patience = options.patience;
    this.maxUnconfirmedBytes = options.maxUnconfirmedBytes ?? 64 * MIB;
    this.#limits = options.queueLimits ?? DEFAULT_LIMITS;
    this.#memory = { bytes: 0, maxBytes: options.maxBytes ?? 256 * MIB };
    this.declare([DEAD_LETTERS]);
  }

  /** One client, as one process would be; a name alone is a service with a boot id of its own. */
  connect(peer: Peer | string, options: ConnectOptions = {}): EmbeddedBus {
    const known = typeof peer === "string" ? { service: peer, bootId: randomUUID() } : peer;
    const address = replyAddress(known);
    if (this.#clients.has(address)) {
      throw new FabricError("bus.unavailable", "a client with this boot id is already connected");
    }
    const bus = new EmbeddedBus(this, address, options.listener);
    this.#clients.set(address, bus);
    return bus;
  }

  /** @internal */
  disconnect(address: string): void {
    this.#clients.delete(address);
  }

  declare(queues: readonly QueueSpec[]): void {
    for (const spec of queues) {
      if (spec.kind === "transient") continue;
      const queue = this.#queues.get(spec.name);
      if (queue === undefined) {
        this.#queues.set(spec.name, new Queue(spec, this.clock, this.faults, this.#limits, this.#memory));
      } else if (queue.spec.kind !== spec.kind) {
        throw new FabricError("bus.unavailable", `queue ${spec.name} already exists as ${queue.spec.kind}`);
      } else queue.bindings.push(...spec.bindings);
    }
    this.#routes.clear();
  }

  /** @internal @throws FabricError `bus.unavailable` */
  checkDeclared({ kind, name }: QueueSpec): void {
    if (kind !== "transient" && !this.#queues.has(name)) throw undeclared(name);
  }

  /** How many there are now; for tests and health. */
  get counts(): { readonly queues: number; readonly consumers: number; readonly clients: number } {
    const queues = [...this.#queues.values(), ...this.#transient];
    const consumers = queues.reduce((sum, queue) => sum + queue.consumers, 0);
    return { queues: queues.length, consumers, clients: this.#clients.size };
  }

  /** Messages that wait in a declared queue; for tests and health. */
  queued(name: string): number {
    return this.#queues.get(name)?.size ?? 0;
  }

  /** @internal The queue to consume; a transient one is made here and lives with its subscriber. */
  open(spec: QueueSpec): Queue {
    if (spec.kind === "transient") {
      const queue = new Queue(spec, this.clock, this.faults, this.#limits, this.#memory);
      this.#transient.add(queue);
      this.#routes.clear();
      return queue;
    }
    const queue = this.#queues.get(spec.name);
    if (queue === undefined) throw undeclared(spec.name);
    return queue;
  }

  /** @internal A consumer has gone from it. */
  release(queue: Queue): void {
    if (queue.spec.kind === "transient") {
      this.#transient.delete(queue);
      this.#routes.clear();
      queue.empty();
    } else if (queue.spec.name === DEAD_LETTERS.name && !queue.isConsumed) {
      queue.empty((entry) => deathError(entry.death));
    }
  }

  /** @internal */
  route(message: Outgoing, publication: Publication): void {
    const queues = this.#queuesFor(message.route);
    if (queues.length === 0) {
      if (message.mandatory === false) publication.resolve();
      else publication.reject(unroutable(message.route));
      return;
    }
    const full = queues.find((queue) => queue.isFull);
    if (full !== undefined) {
      publication.reject(new FabricError("bus.unavailable", `queue ${full.spec.name} is full`));
      return;
    }
    const receipt = message.mandatory === false ? undefined : new Receipt(publication, queues.length);
    for (const queue of queues) {
      queue.offer(message, receipt);
      if (this.faults.duplicates?.(message)) queue.offer(message, undefined);
    }
    if (receipt === undefined) publication.resolve();
  }

  /** @internal */
  answer(address: string, delivery: Delivery): void {
    this.#clients.get(address)?.answered(delivery);
  }

  /** @internal Its publisher waits for the dead-letter consumer now, or learns why it died. */
  deadLetter(message: Outgoing, receipt: Receipt | undefined, death: Death): void {
    const queue = this.#queues.get(DEAD_LETTERS.name);
    if (queue?.isConsumed) queue.offer({ ...message, ttlMs: Number.POSITIVE_INFINITY }, receipt, death);
    else receipt?.failed(deathError(death));
  }

  #queuesFor(route: Route): readonly Queue[] {
    const key = routingKey(route);
    const known = this.#routes.get(key);
    if (known !== undefined) return known;
    const all = [...this.#queues.values(), ...this.#transient];
    const found = all.filter((queue) => queue.bindings.some((binding) => matches(binding, route)));
    if (this.#routes.size >= 10_000) this.#routes.clear();
    this.#routes.set(key, found);
    return found;
  }
}

function undeclared(queue: string): FabricError {
  return new FabricError("bus.unavailable", `queue ${queue} is not declared yet`);
}

function unroutable({ service, instance, action, partition }: Route): FabricError {
  return new FabricError(
    "bus.unroutable",
    `no queue takes ${service}/${instance}/${action} at partition ${partition}`,
  );
}

function deathError(death: Death | undefined): FabricError {
  return new FabricError(death?.code ?? "bus.rejected", death?.detail ?? "");
}

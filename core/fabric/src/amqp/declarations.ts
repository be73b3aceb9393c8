/**
 * Keeps what this client declared in place: somebody may delete a queue, a binding or the exchange
 * itself. All of it is declared again on a new connection, when a consumer loses its queue, when the exchange
 * proves to be gone, and every few seconds.
 */
import type { ChannelModel } from "amqplib";
import { backoffMs } from "../backoff.ts";
import type { Binding, QueueSpec } from "../bus.ts";
import { type Clock, type Random, sleep, Timers } from "../clock.ts";
import type { BusListener } from "../events.ts";
import { FabricError } from "@linkspan/envelopes";
import type { ReplayBuffer } from "./config.ts";
import { textOf, unavailable } from "./link.ts";
import { declareTopology } from "./topology.ts";

export interface DeclarationsOptions {
  readonly isOwner: boolean;
  readonly replay: ReplayBuffer | undefined;
  readonly checkMs: number;
  readonly clock: Clock;
  readonly random: Random;
  readonly listener: BusListener | undefined;
  /** The consuming connection while it is up. */
  readonly connection: () => ChannelModel | undefined;
  /** Binds again the queues that live with this process. */
  readonly rebind: () => Promise<void>;
}

/** Two processes that declare at once disturb each other (541); so does a broker that is starting. */
const DECLARE_TRIES = 6;
const DECLARE_BACKOFF = { minMs: 100, maxMs: 2_000 };

export class Declarations {
  readonly #options: DeclarationsOptions;
  readonly #timers: Timers;
  readonly #closing = new AbortController();
  readonly #declared = new Map<string, QueueSpec>();
  #repairing: Promise<void> | undefined;
  #trouble: string | undefined;
  #watching = false;
  /** `declare` was called: with no queue at all it is the exchange that is declared. */
  #used = false;

  constructor(options: DeclarationsOptions) {
    this.#options = options;
    this.#timers = new Timers(options.clock);
  }

  /** Why something could not be declared again. */
  get trouble(): string | undefined {
    return this.#trouble;
  }

  bindingsOf(queue: string): readonly Binding[] {
    return this.#declared.get(queue)?.bindings ?? [];
  }

  /** @throws FabricError `bus.unavailable`, `bus.timeout` */
  async declare(connection: () => Promise<ChannelModel>, queues: readonly QueueSpec[]): Promise<void> {
    const { clock, random } = this.#options;
    const { signal } = this.#closing;
    for (let failures = 1; ; failures++) {
      const on = await connection();
      try {
        await this.#declareOn(on, queues);
        break;
      } catch (error) {
        if (error instanceof FabricError || failures === DECLARE_TRIES || signal.aborted)
          throw unavailable(error);
        await sleep(clock, backoffMs(DECLARE_BACKOFF, failures, random), signal);
      }
    }
    this.#used = true;
    for (const queue of queues) this.#remember(queue);
    this.watch();
  }

  /** All of it, on a new connection. @throws as `declareTopology` */
  async restore(connection: ChannelModel): Promise<void> {
    if (this.#used) await this.#declareOn(connection, [...this.#declared.values()]);
    this.#trouble = undefined;
  }

  /** All of it, now; one at a time, whoever asks. @throws FabricError `bus.unavailable`, `bus.timeout` */
  repair(): Promise<void> {
    this.#repairing ??= this.#repair().finally(() => {
      this.#repairing = undefined;
    });
    return this.#repairing;
  }

  /** Something is known to be missing. */
  missing(reason: string): void {
    if (this.#closing.signal.aborted) return;
    if (this.#trouble === undefined) {
      this.#trouble = reason;
      this.#options.listener?.({ event: "bus.fault", reason });
    }
    this.repair().catch(() => undefined); // told as trouble; the next check tries again
  }

  /** Looks after it from now on. */
  watch(): void {
    if (this.#watching || this.#closing.signal.aborted) return;
    this.#watching = true;
    const { checkMs, random } = this.#options;
    this.#timers.after(checkMs * (0.75 + random() / 2), () => {
      this.#watching = false;
      if (this.#options.connection() === undefined) {
        this.watch();
        return;
      }
      this.repair()
        .catch(() => undefined)
        .finally(() => this.watch());
    });
  }

  close(): void {
    this.#closing.abort();
    this.#timers.end();
  }

  async #repair(): Promise<void> {
    const { connection, rebind, listener } = this.#options;
    const on = connection();
    if (on === undefined) return;
    try {
      if (this.#used) await this.#declareOn(on, [...this.#declared.values()]);
      await rebind();
      this.#trouble = undefined;
    } catch (error) {
      if (connection() !== on) return; // lost meanwhile: restored with the next
      const trouble = `cannot declare: ${textOf(error)}`;
      if (trouble !== this.#trouble) listener?.({ event: "bus.fault", reason: trouble });
      this.#trouble = trouble;
      throw unavailable(error);
    }
  }

  #declareOn(connection: ChannelModel, queues: readonly QueueSpec[]): Promise<void> {
    const { clock, replay, isOwner } = this.#options;
    return declareTopology(connection, clock, { queues, replay, isOwner });
  }

  #remember(queue: QueueSpec): void {
    const known = this.#declared.get(queue.name);
    const bindings = [...(known?.bindings ?? []), ...queue.bindings];
    const unique = new Map(bindings.map((binding) => [JSON.stringify(binding), binding]));
    this.#declared.set(queue.name, { ...queue, bindings: [...unique.values()] });
  }
}

/**
 * Brings a consumer back whose channel was lost: at growing intervals, until that, or the recovery of the connection, has
 * succeeded. Each attempt makes the earlier ones void.
 */
import type { ChannelModel } from "amqplib";
import { backoffMs } from "../backoff.ts";
import type { Random, Timers } from "../clock.ts";
import type { BusListener } from "../events.ts";
import { textOf } from "./link.ts";

export interface ReattachmentOptions {
  readonly queue: string;
  readonly timers: Timers;
  readonly random: Random;
  readonly listener: BusListener | undefined;
  /** The consuming connection while it is up. */
  readonly connection: () => ChannelModel | undefined;
  /** Declares again what this client has declared. */
  readonly repair: () => Promise<void>;
  readonly restore: (connection: ChannelModel) => Promise<void>;
  /** The consumer was attached once, is not drained, and has no channel now. */
  readonly isWanted: () => boolean;
}

const REATTACH = { minMs: 50, maxMs: 5_000 };

export class Reattachment {
  readonly #options: ReattachmentOptions;
  #failures = 0;
  #generation = 0;
  #trouble: string | undefined;

  constructor(options: ReattachmentOptions) {
    this.#options = options;
  }

  /** Why nothing is consumed although the connection is up. */
  get trouble(): string | undefined {
    return this.#trouble;
  }

  /** An attempt begins. @returns whether no later one has begun since */
  attempt(): () => boolean {
    const generation = ++this.#generation;
    return () => generation === this.#generation;
  }

  succeeded(): void {
    this.#failures = 0;
    this.#trouble = undefined;
  }

  forgetTrouble(): void {
    this.#trouble = undefined;
  }

  /** @param reason undefined: nothing is wrong, it only needs another channel */
  begin(reason: unknown): void {
    const { listener, queue } = this.#options;
    if (reason !== undefined) {
      this.#trouble = textOf(reason);
      listener?.({ event: "bus.fault", queue, reason: this.#trouble });
    }
    this.#later(this.#generation);
  }

  #later(generation: number): void {
    const { timers, random, connection } = this.#options;
    const afterMs = this.#failures === 0 ? 0 : backoffMs(REATTACH, this.#failures, random);
    this.#failures++;
    timers.after(afterMs, () => {
      if (generation !== this.#generation) return;
      const up = connection();
      if (up === undefined) this.#later(generation);
      else void this.#repairAndRestore(up, generation);
    });
  }

  async #repairAndRestore(connection: ChannelModel, generation: number): Promise<void> {
    const { repair, restore, isWanted, listener, queue } = this.#options;
    if (this.#trouble !== undefined) {
      await repair().catch((error: unknown) => {
        listener?.({ event: "bus.fault", queue, reason: `cannot declare: ${textOf(error)}` });
      });
    }
    if (generation === this.#generation && isWanted()) await restore(connection);
  }
}

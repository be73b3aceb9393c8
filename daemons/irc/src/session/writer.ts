/**
 * Writes everything after the greeting, at the pace that the server accepts.
 *
 * A text has a turn: it is written inside its window, all at once, or not at all. Everything else (joins, nicknames,
 * requests) waits in line. Nothing is written while the socket still holds earlier bytes, so that a turn's moment is
 * the moment it leaves.
 */
import type { Window } from "@linkspan/daemon-kit";
import { FabricError } from "@linkspan/envelopes";
import type { IrcClient } from "../client.ts";
import type { FloodGate } from "./flood-gate.ts";
import type { Timers } from "./timers.ts";
import { inside, isOpen } from "./window.ts";

/** Lines in line; further lines are dropped until some were written. */
const MAX_QUEUED = 5_000;

export class Writer {
  readonly #client: IrcClient;
  readonly #gate: FloodGate;
  readonly #timers: Timers;
  readonly #queue: string[] = [];
  #working = false;
  #reading = Promise.withResolvers<void>();

  constructor(client: IrcClient, gate: FloodGate, timers: Timers) {
    this.#client = client;
    this.#gate = gate;
    this.#timers = timers;
    timers.over.addEventListener("abort", () => this.#reading.resolve(), { once: true });
  }

  /** Stops reading, and with it sending: no confirmation could be read. */
  pause(): void {
    this.#reading = Promise.withResolvers();
    this.#client.pause();
  }

  /** Reading what has come meanwhile may stop it again; who waited for this time is woken all the same. */
  resume(): void {
    const reading = this.#reading;
    this.#client.resume();
    reading.resolve();
  }

  /** In line with others, when the gate opens. */
  soon(line: string): void {
    if (this.#queue.length >= MAX_QUEUED) return;
    this.#queue.push(line);
    if (!this.#working) void this.#work();
  }

  /** Right now, in a turn of one's own. @returns whether all of it has left this process */
  now(lines: readonly string[]): () => boolean {
    let left = 0;
    for (const line of lines) {
      this.#client.write(line, () => {
        left += 1;
      });
    }
    return () => left === lines.length;
  }

  /**
   * Resolves, inside the window, when that many lines may be written at once; the caller then writes them without
   * waiting for anything else.
   *
   * @throws FabricError `platform.rate_limited`, `platform.unavailable`: nothing was written
   */
  async turn(lines: number, window: Window): Promise<void> {
    const timers = this.#timers;
    for (;;) {
      if (timers.over.aborted) throw notNow("there is no connection");
      if (!isOpen(window, timers)) throw notNow("the time to send it is over");
      if (this.#client.paused) {
        await inside(window, timers, this.#reading.promise, () => notNow("too much is coming in"));
      } else if (this.#client.pendingBytes > 0) {
        await inside(window, timers, this.#client.flushed(), () =>
          notNow("the server takes nothing just now"),
        );
      } else {
        const waitMs = this.#gate.pass(lines);
        if (waitMs === 0) return;
        if (timers.monotonicMs() + waitMs >= window.untilMs) {
          const detail = "the network's limit of lines is reached";
          throw new FabricError("platform.rate_limited", detail, { retryAfterMs: waitMs });
        }
        await inside(window, timers, timers.sleep(waitMs), () => notNow("the time to send it is over"));
      }
    }
  }

  async #work(): Promise<void> {
    const { over } = this.#timers;
    this.#working = true;
    for (let line = this.#queue.shift(); line !== undefined; line = this.#queue.shift()) {
      for (let ms = this.#gate.pass(1); ms > 0 && !over.aborted; ms = this.#gate.pass(1))
        await this.#timers.sleep(ms);
      if (over.aborted) break;
      this.#client.write(line);
    }
    this.#working = false;
  }
}

/** Certainly not written, and may be later. */
export function notNow(detail: string): FabricError {
  return new FabricError("platform.unavailable", detail);
}

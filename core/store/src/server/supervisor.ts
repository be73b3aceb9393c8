/**
 * Keeps one server up: started, watched, started again when it dies, stopped when asked.
 *
 *     starting ──▶ up ──▶ restarting ⟲ (backoff, for ever)
 *                   └────────┴──▶ stopped
 *
 * Each run has the same socket, so that clients come back by themselves.
 */
import { backoffMs, sleep, systemClock } from "@linkspan/time";
import type { ServerLog } from "./log.ts";
import type { Postmaster, ServerExit } from "./postmaster.ts";

export type ServerState = "up" | "restarting" | "stopped";

export interface Supervised {
  /** Clears what the last run left, then brings one up. */
  readonly launch: (signal: AbortSignal) => Promise<Postmaster>;
  readonly log: ServerLog;
  readonly onExit: (exit: ServerExit) => void;
  readonly onReady: () => void;
}

const RESTART = { minMs: 50, maxMs: 5_000 };
/** A run this long was a good one: the next wait is short again. */
const SOUND_RUN_MS = 3_000;

export class Supervisor {
  readonly #with: Supervised;
  readonly #stopping = new AbortController();
  readonly #watching: Promise<void>;
  #current: Postmaster;
  #state: ServerState = "up";

  /** @param first already up */
  constructor(first: Postmaster, supervised: Supervised) {
    this.#with = supervised;
    this.#current = first;
    this.#watching = this.#watch();
  }

  get state(): ServerState {
    return this.#state;
  }

  get pid(): number {
    return this.#current.pid;
  }

  interrupt(): void {
    this.#current.interrupt();
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#current.stop();
    await this.#watching;
    this.#state = "stopped";
  }

  async #watch(): Promise<void> {
    const { signal } = this.#stopping;
    let failures = 0;
    while (!signal.aborted) {
      const since = performance.now();
      const exit = await this.#current.exited;
      if (signal.aborted) return;
      if (performance.now() - since > SOUND_RUN_MS) failures = 0;
      this.#state = "restarting";
      this.#with.log.error({ event: "store.server.exited", pid: this.#current.pid, ...exit });
      this.#with.onExit(exit);
      failures = await this.#bringBack(failures);
    }
  }

  /** @returns the failures in a row, its own included */
  async #bringBack(failures: number): Promise<number> {
    const { signal } = this.#stopping;
    for (let count = failures + 1; ; count += 1) {
      await sleep(systemClock, backoffMs(RESTART, count), signal);
      if (signal.aborted) return count;
      try {
        this.#current = await this.#with.launch(signal);
      } catch (error) {
        if (!signal.aborted) {
          const reason = error instanceof Error ? error.message : String(error);
          this.#with.log.error({ event: "store.server.restart_failed", attempt: count, reason });
        }
        continue;
      }
      if (signal.aborted) {
        await this.#current.stop();
        return count;
      }
      this.#state = "up";
      this.#with.log.info({ event: "store.server.restarted", pid: this.#current.pid, attempt: count });
      this.#with.onReady();
      return count;
    }
  }
}

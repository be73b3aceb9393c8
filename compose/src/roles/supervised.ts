/**
 * Supervises one daemon of several in a process: when it ends, refuses to continue, or its code throws an
 * uncaught exception, it is stopped and started again. The core and the other daemons are not affected.
 *
 *     starting ──▶ running ──ends──▶ waiting (0.5 s to 60 s, doubling) ──▶ starting
 *                     └──────────────────┴──▶ stopped
 */
import { AsyncLocalStorage } from "node:async_hooks";
import type { ReadinessCheck } from "@linkspan/api";
import type { Daemon } from "@linkspan/daemon-kit";
import { FabricError, isFabricError } from "@linkspan/envelopes";
import { aborted, backoffMs, sleep, systemClock, within } from "@linkspan/time";
import type { Logger } from "pino";

export interface SupervisedOptions {
  /** Service and instance, such as `irc.primary`. */
  readonly name: string;
  /** Opens everything that the daemon needs on the stack. Called again after each end. */
  readonly launch: (stack: AsyncDisposableStack) => Promise<Daemon>;
  readonly log: Logger;
  readonly tuning?: Partial<SupervisionTuning>;
}

export interface SupervisionTuning {
  readonly firstWaitMs: number;
  readonly longestWaitMs: number;
  /** After a run of this length the next wait is short again. */
  readonly soundRunMs: number;
  /** Timeout for a daemon's end; after it the next one starts anyway. */
  readonly endWithinMs: number;
}

const TUNING: SupervisionTuning = {
  firstWaitMs: 500,
  longestWaitMs: 60_000,
  soundRunMs: 60_000,
  endWithinMs: 15_000,
};

/** Identifies all later work of a daemon's code, also in timers and sockets, as that daemon's. */
const current = new AsyncLocalStorage<SupervisedDaemon>();

/** The daemon whose code is running. */
export function daemonRunning(): SupervisedDaemon | undefined {
  return current.getStore();
}

interface Run {
  readonly daemon: Daemon;
  readonly stack: AsyncDisposableStack;
  /** Resolves with the uncaught exception. */
  readonly fault: Promise<unknown>;
}

export class SupervisedDaemon implements AsyncDisposable {
  readonly name: string;
  readonly #launch: SupervisedOptions["launch"];
  readonly #log: Logger;
  readonly #tuning: SupervisionTuning;
  readonly #stopping = new AbortController();
  #run: Run | undefined;
  #onFault: (error: unknown) => void = () => undefined;
  #watching: Promise<void> = Promise.resolve();
  #restarts = 0;
  #lastEnd = "";

  constructor({ name, launch, log, tuning }: SupervisedOptions) {
    this.name = name;
    this.#launch = launch;
    this.#log = log;
    this.#tuning = { ...TUNING, ...tuning };
  }

  /** Starts it the first time. @throws what prevents the start; it is then not retried */
  async start(): Promise<void> {
    this.#run = await this.#open();
    this.#watching = this.#keep(this.#run);
  }

  get isServing(): boolean {
    return this.#run?.daemon.isServing ?? false;
  }

  /** For /health/ready. */
  get check(): ReadinessCheck {
    const check = () => {
      const again = this.#restarts === 0 ? "" : `; started again ${this.#restarts} times`;
      if (this.#run !== undefined) return { ok: true, detail: `runs${again}` };
      if (this.#lastEnd === "") return { ok: false, detail: "is being started" };
      return {
        ok: false,
        detail: `ended (${this.#lastEnd}) and is being started again${again}; see the log`,
      };
    };
    return { name: `daemon ${this.name}`, check: () => Promise.resolve(check()) };
  }

  /** Its code threw an uncaught exception: it is stopped and started again. */
  fault(error: unknown): void {
    this.#onFault(error);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping.abort();
    await this.#watching;
  }

  async #keep(first: Run): Promise<void> {
    const { signal } = this.#stopping;
    const { firstWaitMs, longestWaitMs, soundRunMs } = this.#tuning;
    let failures = 0;
    for (let run: Run | undefined = first; run !== undefined; run = await this.#again(failures)) {
      const since = performance.now();
      const end = await this.#end(run);
      this.#run = undefined;
      if (!signal.aborted) this.#report("daemon.ended", end);
      await this.#close(run.stack);
      if (signal.aborted) return;
      if (performance.now() - since > soundRunMs) failures = 0;
      failures += 1;
      await sleep(systemClock, backoffMs({ minMs: firstWaitMs, maxMs: longestWaitMs }, failures), signal);
    }
  }

  /** @returns undefined when it was stopped meanwhile */
  async #again(failuresBefore: number): Promise<Run | undefined> {
    const { signal } = this.#stopping;
    const { firstWaitMs, longestWaitMs } = this.#tuning;
    for (let failures = failuresBefore; !signal.aborted; ) {
      this.#restarts += 1;
      try {
        const run = await this.#open();
        this.#run = run;
        this.#log.info({ event: "daemon.restarted", daemon: this.name, restarts: this.#restarts });
        return run;
      } catch (error) {
        this.#report("daemon.restart_failed", error);
        failures += 1;
        await sleep(systemClock, backoffMs({ minMs: firstWaitMs, maxMs: longestWaitMs }, failures), signal);
      }
    }
    return undefined;
  }

  async #open(): Promise<Run> {
    const stack = new AsyncDisposableStack();
    const { promise: fault, resolve } = Promise.withResolvers<unknown>();
    this.#onFault = resolve;
    const launched = current.run(this, () => this.#launch(stack));
    try {
      const thrown = fault.then((error) => {
        throw asError(error);
      });
      return { daemon: await Promise.race([launched, thrown]), stack, fault };
    } catch (error) {
      // Parts that are still being opened are closed with the others.
      await within(this.#tuning.endWithinMs, Promise.allSettled([launched]));
      await this.#close(stack);
      throw error;
    }
  }

  /** @returns why it ended without being told to */
  async #end({ daemon, fault }: Run): Promise<unknown> {
    const ended = daemon.done.then(
      () => new FabricError("internal", "it ended without being told to"),
      (error: unknown) => error,
    );
    return Promise.race([ended, fault, aborted(this.#stopping.signal)]);
  }

  async #close(stack: AsyncDisposableStack): Promise<void> {
    try {
      let closed = false;
      const closing = stack.disposeAsync().finally(() => {
        closed = true;
      });
      await within(this.#tuning.endWithinMs, closing);
      if (!closed) this.#log.error({ event: "daemon.not_closed", daemon: this.name });
    } catch (error) {
      this.#log.warn({ event: "daemon.closed_badly", daemon: this.name, err: error });
    }
  }

  #report(event: string, error: unknown): void {
    this.#lastEnd = isFabricError(error) ? error.code : error instanceof Error ? error.name : typeof error;
    this.#log.error({ event, daemon: this.name, reason: this.#lastEnd, err: error });
  }
}

function asError(error: unknown): Error {
  return error instanceof Error
    ? error
    : new FabricError("internal", "something else than an error was thrown");
}

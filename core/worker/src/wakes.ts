/**
 * Wake-ups between the parts of the core, within a process and across processes.
 *
 * A wake-up carries no data and may be lost: a waiting loop reads the tables, and reads them again after a
 * timeout. PostgreSQL's NOTIFY sends it to other processes when the transaction commits. Wake-ups that no
 * loop waits for with a timeout (keys, flags) are repeated by a timer too, so that a connection that receives
 * nothing costs only seconds.
 */
import { EventEmitter, once } from "node:events";
import { type Database, execute, type Queryable } from "@linkspan/store";
import { aborted, backoffMs, sleep, systemClock } from "@linkspan/time";
import type { Logger } from "pino";

export type Wake = "outbox" | "positions" | "flags" | "keys" | "unsequenced";

const CHANNEL = "linkspan";
/** These are repeated by a timer. */
const BY_TIME: readonly Wake[] = ["keys", "flags"];
const BY_TIME_MS = 2_000;
/** Shortest time between two announcements of one kind by a process, milliseconds. */
const APART_MS = 5;
const WAKES: readonly string[] = ["outbox", "positions", "flags", "keys", "unsequenced"] satisfies Wake[];

export class Wakes implements AsyncDisposable {
  readonly #events = new EventEmitter().setMaxListeners(0);
  readonly #stop = new AbortController();
  readonly #due = new Map<Wake, NodeJS.Timeout>();
  readonly #announcedAt = new Map<Wake, number>();
  readonly #sending = new Set<Promise<void>>();
  #listening: Promise<void> = Promise.resolve();
  #database: Database | undefined;
  #log: Logger | undefined;

  /** Wakes the waiting loops in this process. */
  local(wake: Wake): void {
    this.#events.emit(wake);
  }

  /**
   * Wakes the waiting loops in this process now, and those of every other process within a few milliseconds.
   * Call it after the commit: a NOTIFY inside a transaction makes commits queue behind each other. If one is
   * lost, the waiting loop continues only after its timeout.
   */
  announce(wake: Wake): void {
    this.local(wake);
    if (this.#database === undefined || this.#due.has(wake) || this.#stop.signal.aborted) return;
    const sinceMs = performance.now() - (this.#announcedAt.get(wake) ?? -APART_MS);
    const timer = setTimeout(() => this.#notify(wake), Math.max(0, APART_MS - sinceMs));
    this.#due.set(wake, timer);
  }

  #notify(wake: Wake): void {
    const database = this.#database;
    if (database === undefined) return;
    const sent = this.everywhere(database.pool, wake)
      .catch((error: unknown) => {
        this.#log?.debug(
          { event: "wakes.unsent", wake, err: error },
          "other processes were not notified; they check by themselves",
        );
      })
      .finally(() => this.#sending.delete(sent));
    this.#sending.add(sent);
    this.#due.delete(wake);
    this.#announcedAt.set(wake, performance.now());
  }

  /** Wakes every process once the transaction commits; for wake-ups that are rare and must not be lost. */
  async everywhere(on: Queryable, wake: Wake): Promise<void> {
    await execute(on, "SELECT pg_notify($1, $2)", [CHANNEL, wake], "wakes.notify");
  }

  on(wake: Wake, listener: () => void, signal: AbortSignal): void {
    if (signal.aborted) return;
    this.#events.on(wake, listener);
    signal.addEventListener("abort", () => this.#events.off(wake, listener), { once: true });
  }

  /** Resolves at the next wake-up, after `timeoutMs`, or when aborted. */
  async wait(wake: Wake, timeoutMs: number, signal: AbortSignal): Promise<void> {
    const limit = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]);
    await once(this.#events, wake, { signal: limit }).catch((error: unknown) => {
      if (!limit.aborted) throw error;
    });
  }

  /** Listens for other processes' wake-ups until disposed; reconnects after connection losses. */
  listen(database: Database, log: Logger): void {
    this.#database = database;
    this.#log = log;
    this.#listening = Promise.all([this.#listenForever(database, log), this.#remind()]).then(() => undefined);
  }

  async #remind(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      await this.#pause(BY_TIME_MS);
      for (const wake of BY_TIME) this.#events.emit(wake);
    }
  }

  async #listenForever(database: Database, log: Logger): Promise<void> {
    for (let failures = 0; !this.#stop.signal.aborted; failures++) {
      try {
        await this.#listenOnce(database);
        failures = 0;
      } catch (error) {
        log.debug(
          { event: "wakes.interrupted", failures, err: error },
          "the listening connection was lost; listening again soon",
        );
      }
      await this.#pause(backoffMs({ minMs: 100, maxMs: 5_000 }, failures + 1));
    }
  }

  /** Resolves when the connection ends; a silent connection ends within seconds. */
  async #listenOnce(database: Database): Promise<void> {
    const client = await database.listener();
    const ended = new AbortController();
    client.on("notification", ({ payload }) => {
      if (payload !== undefined && WAKES.includes(payload)) this.#events.emit(payload);
    });
    client.on("error", () => ended.abort());
    client.on("end", () => ended.abort());
    try {
      await execute(client, `LISTEN ${CHANNEL}`);
      // Wake-ups that were missed before are replaced by waking all.
      for (const wake of WAKES) this.#events.emit(wake);
      await aborted(AbortSignal.any([ended.signal, this.#stop.signal]));
    } finally {
      client.removeAllListeners("notification");
      await client.end();
    }
  }

  async #pause(ms: number): Promise<void> {
    await sleep(systemClock, ms, this.#stop.signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    for (const timer of this.#due.values()) clearTimeout(timer);
    this.#due.clear();
    await Promise.all([this.#listening, ...this.#sending]);
  }
}

/**
 * Wakes the readers that wait for events of a workspace, in one process. One loop checks which workspaces
 * have new positions, when positions are given and also at an interval; only readers of these workspaces are
 * woken. A stream of a workspace without events costs nothing, however many streams there are and however
 * many events other workspaces have.
 */
import { setTimeout as pause } from "node:timers/promises";
import { FabricError } from "@linkspan/envelopes";
import { lastPosition, workspacesBetween } from "@linkspan/store";
import type { Core } from "@linkspan/worker";

/** A lost wake-up delays events by at most this time. */
const LOOK_MS = 1_000;
/** Positions that are given within this time are checked together. */
const TOGETHER_MS = 5;
/** When checks fail for this time, waiting requests end: their clients ask again and get the error. */
const GIVE_UP_MS = 10_000;

/** Separate from the promise, because `changed` may be read before `wait` is called. */
export interface Watch {
  /** Whether events came since the watch began, or the feed cannot know. */
  readonly changed: boolean;
  /** Resolves when events came or the signal aborted. @throws FabricError `store.unavailable` */
  wait(signal: AbortSignal): Promise<void>;
  end(): void;
}

class Watcher implements Watch {
  changed = false;
  readonly #end: () => void;
  #failure: Error | undefined;
  #wake: (() => void) | undefined;

  constructor(end: () => void) {
    this.#end = end;
  }

  tell(failure?: Error): void {
    this.changed = true;
    this.#failure ??= failure;
    this.#wake?.();
  }

  async wait(signal: AbortSignal): Promise<void> {
    if (!this.changed && !signal.aborted) {
      const woken = Promise.withResolvers<void>();
      const wake = () => woken.resolve();
      this.#wake = wake;
      signal.addEventListener("abort", wake, { once: true });
      await woken.promise;
      signal.removeEventListener("abort", wake);
      this.#wake = undefined;
    }
    if (this.#failure !== undefined) throw this.#failure;
  }

  end(): void {
    this.#end();
  }
}

export class Feed implements AsyncDisposable {
  readonly #core: Core;
  readonly #watchers = new Map<string, Set<Watcher>>();
  readonly #stop = new AbortController();
  /** Positions up to this one were announced. */
  #position: number | undefined;
  #running: Promise<void> | undefined;
  #version = 0;
  #wake = Promise.withResolvers<void>();

  constructor(core: Core) {
    this.#core = core;
    core.wakes.on("positions", () => this.#wake.resolve(), this.#stop.signal);
  }

  /** Grows with each announcement: a read that began before an announcement may lack the announced events. */
  get version(): number {
    return this.#version;
  }

  /**
   * Everything up to this position is committed. A page that was read since, and is not full, contains all of
   * it: a reader that continues from here does not read again the events that are stored and not fanned out.
   * Undefined: not known yet.
   */
  get position(): number | undefined {
    return this.#position;
  }

  /** Call it before reading the log: events that are committed afterwards are announced. */
  watch(workspaceId: string): Watch {
    const watcher = new Watcher(() => this.#forget(workspaceId, watcher));
    const others = this.#watchers.get(workspaceId);
    if (others === undefined) this.#watchers.set(workspaceId, new Set([watcher]));
    else others.add(watcher);
    this.#running ??= this.#run();
    return watcher;
  }

  #forget(workspaceId: string, watcher: Watcher): void {
    const others = this.#watchers.get(workspaceId);
    others?.delete(watcher);
    if (others?.size === 0) this.#watchers.delete(workspaceId);
    // The loop ends when nobody waits.
    if (this.#watchers.size === 0) this.#wake.resolve();
  }

  /** Runs while anybody waits. Never rejects. */
  async #run(): Promise<void> {
    let failingSince: number | undefined;
    this.#position = undefined;
    while (this.#watchers.size > 0 && !this.#stop.signal.aborted) {
      this.#wake = Promise.withResolvers();
      try {
        await this.#look();
        failingSince = undefined;
      } catch (error) {
        failingSince ??= performance.now();
        this.#core.log.debug(
          { event: "feed.unread", err: error },
          "new positions could not be read; tried again soon",
        );
        if (performance.now() - failingSince >= GIVE_UP_MS) this.#fail();
      }
      await this.#rest();
    }
    this.#running = undefined;
  }

  async #rest(): Promise<void> {
    const look = setTimeout(this.#wake.resolve, LOOK_MS).unref();
    if (this.#watchers.size > 0) await this.#wake.promise;
    clearTimeout(look);
    if (this.#watchers.size > 0) await pause(TOGETHER_MS, undefined, { ref: false });
  }

  async #look(): Promise<void> {
    const { database } = this.#core;
    const newest = await lastPosition(database);
    const told = this.#position;
    if (told === newest) return;
    // At the start, and after a restore, it is unknown which events are new: all readers check once.
    const all = told === undefined || newest < told;
    const concerned = all ? [...this.#watchers.keys()] : await workspacesBetween(database, told, newest);
    this.#position = newest;
    this.#version += 1;
    for (const workspaceId of concerned) {
      for (const watcher of this.#watchers.get(workspaceId) ?? []) watcher.tell();
    }
  }

  #fail(): void {
    const failure = new FabricError("store.unavailable", "the event log cannot be read");
    for (const watchers of this.#watchers.values()) for (const watcher of watchers) watcher.tell(failure);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    this.#wake.resolve();
    await this.#running;
  }
}

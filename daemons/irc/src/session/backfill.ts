/**
 * Closes the gap of an absence from the server's own history (draft/chathistory), and fetches what is asked for.
 *
 * While a conversation's history is on its way, its live events wait here, so that order holds. History that a
 * server or bouncer replays by itself comes the same way, without having been asked for.
 */
import { FabricError } from "@linkspan/envelopes";
import type { PlatformEvent } from "@linkspan/daemon-kit";
import { type Line, type Seen, serverTime } from "../inbound.ts";
import type { Names } from "./names.ts";
import type { Timers } from "./timers.ts";

export interface BackfillOptions {
  readonly write: (line: string) => void;
  readonly emit: (events: readonly PlatformEvent[]) => void;
  /** Events of a line of the history of `target`; none for what we said ourselves and know of. */
  readonly eventsOf: (line: Line, seen: Seen, target: string) => readonly PlatformEvent[];
  readonly timers: Timers;
  readonly names: Names;
  /** Whether this server id has not been handed over yet; from now on it counts as handed over. */
  readonly learn: (id: string) => boolean;
  /** The moment up to which lines without an id have been seen. */
  readonly seenUntil: Date | undefined;
  /** Messages that the server gives at once. */
  readonly pageSize: () => number;
  /** How the server lets a place in its history be named: `msgid`, `timestamp`, the best first. */
  readonly references: () => readonly string[];
  readonly timeoutMs?: number;
}

interface Fetch {
  readonly target: string;
  /** How many more to fetch, over all pages. */
  left: number;
  readonly held: PlatformEvent[];
  readonly done: PromiseWithResolvers<void>;
  cancel: () => void;
}

interface Page {
  readonly line: Line;
  readonly seen: Seen;
}

const MAX_HELD = 2_000;
const MAX_PAGE = 5_000;
/** Characters of lines that all open histories hold. */
const MAX_PAGES_LENGTH = 16_777_216;
/** Histories that are asked for at once. */
const MAX_FETCHES = 2_000;
/** Clocks of a network's servers differ; what comes twice is known by its id. */
const OVERLAP_MS = 10_000;

export class Backfill {
  readonly #options: BackfillOptions & { readonly timeoutMs: number };
  readonly #fetches = new Map<string, Fetch>();
  /** Lines of open history batches. */
  readonly #pages = new Map<string, Page[]>();
  /** Characters of those lines. */
  #length = 0;

  constructor(options: BackfillOptions) {
    this.#options = { timeoutMs: 30_000, ...options };
  }

  /** All messages in `target` after a moment. Resolves when they have been handed over. */
  since(target: string, moment: Date, limit: number): Promise<void> {
    const from = this.#selectorOf({ server_time: new Date(moment.getTime() - OVERLAP_MS).toISOString() });
    // Where no moment can be named, the latest page; what of it is known is known by its id.
    const command = from === undefined ? `LATEST ${target} *` : `AFTER ${target} ${from}`;
    return this.#fetch(target, limit, `CHATHISTORY ${command}`);
  }

  /** The latest, or what comes after a server's id or a moment. @throws FabricError `platform.*` */
  async fetch(
    target: string,
    after: Readonly<Record<string, unknown>> | undefined,
    limit: number,
  ): Promise<void> {
    const from = this.#selectorOf(after);
    const command =
      from === undefined ? `CHATHISTORY LATEST ${target} *` : `CHATHISTORY AFTER ${target} ${from}`;
    await this.#fetch(target, limit, command);
  }

  /** @returns whether a live event is held back until the history before it is here */
  hold(event: PlatformEvent): boolean {
    const fetch = this.#fetches.get(event.conversation);
    if (fetch === undefined) return false;
    fetch.held.push(event);
    if (fetch.held.length >= MAX_HELD) this.#finish(fetch);
    return true;
  }

  /** A line within a history batch. */
  collect(target: string, line: Line, seen: Seen): void {
    const key = this.#options.names.conversation(target);
    const page = this.#pages.get(key) ?? [];
    this.#pages.set(key, page);
    const length = lengthOf(line);
    if (page.length >= MAX_PAGE || this.#length + length > MAX_PAGES_LENGTH) return;
    this.#length += length;
    page.push({ line, seen });
  }

  /** A history batch has ended. */
  end(target: string): void {
    const key = this.#options.names.conversation(target);
    const page = this.#pages.get(key) ?? [];
    this.#pages.delete(key);
    for (const { line } of page) this.#length -= lengthOf(line);
    for (const { line, seen } of page)
      if (this.#isNew(line)) this.#options.emit(this.#options.eventsOf(line, seen, target));
    const fetch = this.#fetches.get(key);
    if (fetch === undefined) return;
    fetch.left -= page.length;
    const last = page.at(-1)?.line;
    const next =
      last === undefined ? undefined : this.#selectorOf({ ...last.tags, server_time: last.tags["time"] });
    if (page.length < this.#options.pageSize() || fetch.left <= 0 || next === undefined) this.#finish(fetch);
    else this.#ask(fetch, `CHATHISTORY AFTER ${fetch.target} ${next}`);
  }

  /** `FAIL CHATHISTORY <code> <subcommand> <target> … :<description>` */
  refused(params: readonly string[]): void {
    for (const fetch of this.#fetches.values()) {
      if (!params.includes(fetch.target)) continue;
      fetch.done.reject(
        new FabricError("platform.not_found", `the server refuses this history (${params[1] ?? ""})`),
      );
      this.#finish(fetch);
    }
  }

  /** The connection ended: what was held is handed over, what was asked for does not come. */
  close(): void {
    for (const fetch of this.#fetches.values()) {
      fetch.done.reject(
        new FabricError("platform.unavailable", "the connection ended before its history came"),
      );
      this.#finish(fetch);
    }
  }

  #fetch(target: string, limit: number, command: string): Promise<void> {
    const key = this.#options.names.conversation(target);
    const under = this.#fetches.get(key);
    if (under !== undefined) return under.done.promise;
    if (this.#fetches.size >= MAX_FETCHES) {
      return Promise.reject(new FabricError("platform.unavailable", "too many histories are on their way"));
    }
    const fetch: Fetch = {
      target,
      left: limit,
      held: [],
      done: Promise.withResolvers(),
      cancel: () => undefined,
    };
    fetch.done.promise.catch(() => undefined);
    this.#fetches.set(key, fetch);
    this.#ask(fetch, command);
    return fetch.done.promise;
  }

  #ask(fetch: Fetch, command: string): void {
    fetch.cancel();
    const onLate = () => {
      fetch.done.reject(new FabricError("platform.unavailable", "the server did not send the history"));
      this.#finish(fetch);
    };
    fetch.cancel = this.#options.timers.after(this.#options.timeoutMs, onLate);
    this.#options.write(`${command} ${Math.max(1, Math.min(fetch.left, this.#options.pageSize()))}`);
  }

  #finish(fetch: Fetch): void {
    fetch.cancel();
    this.#fetches.delete(this.#options.names.conversation(fetch.target));
    this.#options.emit(fetch.held.splice(0));
    fetch.done.resolve();
  }

  /** By its id; without one by its time, which is as much as such a server lets us know. */
  #isNew(line: Line): boolean {
    const { msgid } = line.tags;
    if (msgid !== undefined && msgid !== "") return this.#options.learn(msgid);
    const at = serverTime(line);
    const until = this.#options.seenUntil;
    return at !== undefined && (until === undefined || at > until);
  }

  /** A cursor of ours as a CHATHISTORY selector, in the form that the server likes best of those it holds. */
  #selectorOf(cursor: Readonly<Record<string, unknown>> = {}): string | undefined {
    const { msgid, server_time } = cursor;
    const forms: Readonly<Record<string, string | undefined>> = {
      msgid: typeof msgid === "string" && /^[^\0-\x20]+$/.test(msgid) ? msgid : undefined,
      timestamp:
        typeof server_time === "string" && /^[0-9TZ:.-]+$/.test(server_time) ? server_time : undefined,
    };
    const form = this.#options.references().find((name) => forms[name] !== undefined);
    return form === undefined ? undefined : `${form}=${forms[form]}`;
  }
}

function lengthOf({ prefix, params, tags }: Line): number {
  return [prefix, ...params, ...Object.values(tags)].reduce((sum, text) => sum + text.length, 0);
}

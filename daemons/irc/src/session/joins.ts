/** Being in the channels that we want to be in: joined at every connection, tried again while refused. */
import { FabricError } from "@linkspan/envelopes";
import { joinRefusalOf } from "../errors.ts";
import type { Line } from "../inbound.ts";
import type { Memory, Wish } from "./memory.ts";

export interface JoinsOptions {
  readonly memory: Memory;
  readonly write: (line: string) => void;
  readonly fold: (name: string) => string;
  readonly isSelf: (nick: string) => boolean;
  /** For a person: a channel that is wanted refuses us. */
  readonly onRefused: (refusal: string) => void;
  readonly retryMs?: number;
}

/** What to write, and when it has come about. */
export interface Change {
  readonly lines: readonly string[];
  readonly done: Promise<void>;
}

const DONE: Change = { lines: [], done: Promise.resolve() };
const MAX_CHANNELS_PER_LINE = 10;
const MAX_BYTES = 400;

export class Joins implements Disposable {
  readonly #options: Required<JoinsOptions>;
  readonly #joined = new Set<string>();
  readonly #pending = new Map<string, PromiseWithResolvers<void>>();
  readonly #refused = new Map<string, FabricError>();
  readonly #leaving = new Map<string, PromiseWithResolvers<void>>();
  #timer: NodeJS.Timeout | undefined;

  constructor(options: JoinsOptions) {
    this.#options = { retryMs: 120_000, ...options };
  }

  /** Joins every wish; resolves when each is answered. Those that are refused are tried again from time to time. */
  async start(): Promise<void> {
    const { memory, write, fold, retryMs } = this.#options;
    const waiting = memory.wishes.map(({ name }) => this.#wait(fold(name)).promise);
    for (const line of joinLines(memory.wishes)) write(line);
    this.#timer = setInterval(() => this.again(), retryMs);
    await Promise.allSettled(waiting);
  }

  /** For people: the channels that are wanted and refuse us. */
  get refusals(): readonly string[] {
    return [...this.#refused.values()].map(({ message }) => message);
  }

  /** To be in one more channel. `done` resolves once we are, and rejects with the refusal. */
  join(wish: Wish): Change {
    const { memory, fold } = this.#options;
    const key = fold(wish.name);
    memory.wish(wish);
    if (this.#joined.has(key)) return DONE;
    const done = this.#wait(key).promise.catch((error: unknown) => {
      memory.forget(wish.name);
      throw error;
    });
    return { lines: joinLines([wish]), done };
  }

  /** To be in one channel less. `done` resolves once we are out. */
  leave(name: string, reason: string | undefined): Change {
    const { memory, fold } = this.#options;
    const key = fold(name);
    memory.forget(name);
    if (!this.#joined.has(key)) return DONE;
    const leaving = this.#leaving.get(key) ?? Promise.withResolvers<void>();
    this.#leaving.set(key, leaving);
    leaving.promise.catch(() => undefined);
    return {
      lines: [reason === undefined ? `PART ${name}` : `PART ${name} :${reason}`],
      done: leaving.promise,
    };
  }

  /**
   * What to wait for before something is said in a channel; undefined when nothing is known against it.
   *
   * @throws FabricError the refusal, where we want to be in and may not
   */
  ready(name: string): Promise<void> | undefined {
    const key = this.#options.fold(name);
    if (this.#joined.has(key)) return undefined;
    const refused = this.#refused.get(key);
    if (refused !== undefined) throw refused;
    return this.#pending.get(key)?.promise;
  }

  /** @returns whether the line answers a JOIN of ours, and so is about nothing else */
  see(line: Line): boolean {
    const { fold, isSelf, memory } = this.#options;
    const [first = "", second = ""] = line.params;
    if (line.command === "JOIN" && isSelf(line.nick)) {
      this.#in(fold(first));
      return true;
    }
    if (line.command === "PART" && isSelf(line.nick)) this.#out(first);
    if (line.command === "KICK" && isSelf(second)) this.#out(first);
    const refusal = joinRefusalOf(line);
    const key = refusal === undefined ? "" : fold(refusal.channel);
    if (refusal === undefined || !this.#pending.has(key)) return false;
    const wanted = memory.wants(refusal.channel);
    this.#pending.get(key)?.reject(refusal.error);
    this.#pending.delete(key);
    if (wanted) {
      this.#refused.set(key, refusal.error);
      this.#options.onRefused(refusal.error.message);
    }
    return true;
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    const ended = new FabricError("platform.unavailable", "the connection ended");
    for (const waiting of [...this.#pending.values(), ...this.#leaving.values()]) waiting.reject(ended);
    this.#pending.clear();
    this.#leaving.clear();
  }

  #wait(key: string): PromiseWithResolvers<void> {
    const waiting = this.#pending.get(key) ?? Promise.withResolvers<void>();
    waiting.promise.catch(() => undefined);
    this.#pending.set(key, waiting);
    return waiting;
  }

  #in(key: string): void {
    this.#joined.add(key);
    this.#refused.delete(key);
    this.#pending.get(key)?.resolve();
    this.#pending.delete(key);
  }

  /** Left, kicked or removed: either way we do not come back by ourselves. */
  #out(name: string): void {
    const key = this.#options.fold(name);
    this.#options.memory.forget(name);
    this.#joined.delete(key);
    this.#leaving.get(key)?.resolve();
    this.#leaving.delete(key);
  }

  /** Tries what was refused: the reason may be gone, as we may have logged in by now. */
  again(): void {
    const { memory, write, fold } = this.#options;
    const wishes = memory.wishes.filter(({ name }) => this.#refused.has(fold(name)));
    for (const wish of wishes) this.#wait(fold(wish.name));
    for (const line of joinLines(wishes)) write(line);
  }
}

/** As few lines as servers take; channels with keys come first, as the keys are matched by order. */
export function joinLines(wishes: readonly Wish[]): string[] {
  const lines: string[] = [];
  let [names, keys]: [string[], string[]] = [[], []];
  const flush = () => {
    if (names.length > 0)
      lines.push(["JOIN", names.join(","), ...(keys.length > 0 ? [keys.join(",")] : [])].join(" "));
    [names, keys] = [[], []];
  };
  const ordered = [...wishes].sort((a, b) => Number(a.key === undefined) - Number(b.key === undefined));
  for (const { name, key } of ordered) {
    const bytes = Buffer.byteLength([...names, ...keys, name, key ?? ""].join(","));
    if (names.length === MAX_CHANNELS_PER_LINE || bytes > MAX_BYTES) flush();
    names.push(name);
    if (key !== undefined) keys.push(key);
  }
  flush();
  return lines;
}

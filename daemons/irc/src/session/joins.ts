/** Joins the channels that are wanted at every connection, and tries refused ones again. */
import { FabricError } from "@linkspan/envelopes";
import { forwardOf, type JoinRefusal, joinRefusalOf, Refusal } from "../refusals.ts";
import type { Line } from "../inbound.ts";
import type { Timers } from "./timers.ts";
import type { Memory, Wish } from "./memory.ts";
import type { Names } from "./names.ts";

export interface JoinsOptions {
  readonly memory: Memory;
  readonly write: (line: string) => void;
  readonly names: Names;
  readonly timers: Timers;
  /** How many channels one JOIN may name, where the server has a bound. */
  readonly maxChannels: () => number | undefined;
  /** Whether a channel that sends us on to another one is followed there. */
  readonly followForwards: boolean;
  /** For a person: a channel that is wanted refuses us, or has sent us on. */
  readonly onNotice: (sentence: string) => void;
  readonly retryMs?: number;
}

/** Lines to write, and a promise that resolves when the server has confirmed the change. */
export interface Change {
  readonly lines: readonly string[];
  readonly done: Promise<void>;
}

const DONE: Change = { lines: [], done: Promise.resolve() };
const MAX_CHANNELS_PER_LINE = 10;
const MAX_BYTES = 400;
/** Channels that we are in without having asked, and forwards that are followed on one connection. */
const MAX_UNASKED = 1_000;
const MAX_FORWARDS = 10;

export class Joins implements Disposable {
  readonly #options: Required<JoinsOptions>;
  readonly #joined = new Set<string>();
  readonly #pending = new Map<string, PromiseWithResolvers<void>>();
  readonly #refused = new Map<string, FabricError>();
  readonly #leaving = new Map<string, PromiseWithResolvers<void>>();
  /** Channels that another channel forwarded us to, which we did not ask for. */
  readonly #unrequested = new Set<string>();
  /** Channels that we part from because of that. */
  readonly #parting = new Set<string>();
  /** Followed on this connection, for people. */
  readonly #forwards: string[] = [];

  constructor(options: JoinsOptions) {
    this.#options = { retryMs: 120_000, ...options };
  }

  /** Joins every wish; resolves when each is answered. Those that are refused are tried again from time to time. */
  async start(): Promise<void> {
    const { memory, write, names } = this.#options;
    const waiting = memory.wishes.map(({ name }) => this.#wait(names.fold(name)).promise);
    for (const line of this.#lines(memory.wishes)) write(line);
    this.#retryLater();
    await Promise.allSettled(waiting);
  }

  /** For people: the channels that are wanted and refuse us, and those that have sent us on. */
  get notices(): readonly string[] {
    return [...[...this.#refused.values()].map(({ message }) => message), ...this.#forwards];
  }

  /** To be in one more channel. `done` resolves once we are, and rejects with the refusal. */
  join(wish: Wish): Change {
    const { memory, names } = this.#options;
    const key = names.fold(wish.name);
    const before = memory.wants(wish.name) ? { ...wish, key: memory.keyOf(wish.name) } : undefined;
    const wanted = { ...wish, key: wish.key ?? before?.key };
    memory.wish(wanted);
    if (this.#joined.has(key)) return DONE;
    const done = this.#wait(key).promise.catch((error: unknown) => {
      if (before === undefined) {
        memory.forget(wish.name);
        this.#refused.delete(key);
      } else memory.wish(before);
      throw error;
    });
    return { lines: this.#lines([wanted]), done };
  }

  /** To be in one channel less. `done` resolves once we are out. */
  leave(name: string, reason: string | undefined): Change {
    const { memory, names } = this.#options;
    const key = names.fold(name);
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
   * A promise to wait for before something is sent to a channel; undefined when there is nothing to wait for. A channel
   * that is wanted and has refused us is asked anew: it may not refuse us any more.
   */
  ready(name: string): Promise<void> | undefined {
    const { names, memory, write } = this.#options;
    const key = names.fold(name);
    if (this.#joined.has(key)) return undefined;
    const pending = this.#pending.get(key);
    if (pending !== undefined) return pending.promise;
    if (!this.#refused.delete(key)) return undefined;
    const wish = memory.wishes.find((one) => names.fold(one.name) === key);
    if (wish === undefined) return undefined;
    const waiting = this.#wait(key);
    for (const line of this.#lines([wish])) write(line);
    return waiting.promise;
  }

  /** @returns whether the line answers a JOIN or PART of ours, and so is about nothing else */
  see(line: Line): boolean {
    const { names } = this.#options;
    const [first = "", second = ""] = line.params;
    if (line.command === "JOIN" && names.isSelf(line.nick)) {
      this.#in(first);
      return true;
    }
    if (line.command === "PART" && names.isSelf(line.nick)) this.#parted(first);
    if (line.command === "KICK" && names.isSelf(second)) this.#out(first);
    if ((line.command === "442" || line.command === "403") && this.#leaving.has(names.fold(second))) {
      this.#out(second);
      return true;
    }
    const refusal = joinRefusalOf(line, (name) => this.#pending.has(names.fold(name)));
    if (refusal === undefined || this.#pending.size === 0) return false;
    const forward = forwardOf(line);
    if (forward === undefined) this.#refuse(refusal);
    else if (this.#options.followForwards && this.#forwards.length < MAX_FORWARDS)
      this.#follow(forward.from, forward.to);
    else {
      this.#unrequested.add(names.fold(forward.to));
      this.#refuse(refusal);
    }
    return true;
  }

  [Symbol.dispose](): void {
    const ended = new FabricError("platform.unavailable", "the connection ended");
    for (const waiting of [...this.#pending.values(), ...this.#leaving.values()]) waiting.reject(ended);
    this.#pending.clear();
    this.#leaving.clear();
  }

  #retryLater(): void {
    const { timers, retryMs } = this.#options;
    timers.after(retryMs, () => {
      this.again();
      this.#retryLater();
    });
  }

  #lines(wishes: readonly Wish[]): string[] {
    return joinLines(wishes, this.#options.maxChannels());
  }

  #wait(key: string): PromiseWithResolvers<void> {
    const waiting = this.#pending.get(key) ?? Promise.withResolvers<void>();
    waiting.promise.catch(() => undefined);
    this.#pending.set(key, waiting);
    return waiting;
  }

  #refuse({ channel, error }: JoinRefusal): void {
    const { names, memory, onNotice } = this.#options;
    const keys = channel === undefined ? [...this.#pending.keys()] : [names.fold(channel)];
    for (const key of keys) {
      this.#pending.get(key)?.reject(error);
      this.#pending.delete(key);
      const isWanted = memory.wishes.some(({ name }) => names.fold(name) === key);
      if (!isWanted) continue;
      this.#refused.set(key, error);
      onNotice(error.message);
    }
  }

  /** From now on the other channel is wanted instead. */
  #follow(from: string, to: string): void {
    const { names, memory, onNotice } = this.#options;
    const error = new Refusal("channel", "platform.forbidden", `${from} forwards to ${to}: send there`);
    this.#pending.get(names.fold(from))?.reject(error);
    this.#pending.delete(names.fold(from));
    memory.forget(from);
    memory.wish({ name: to, key: undefined });
    if (!this.#joined.has(names.fold(to))) this.#wait(names.fold(to));
    const sentence = `${from} forwards to ${to}, which was joined instead`;
    this.#forwards.push(sentence);
    onNotice(sentence);
  }

  #in(name: string): void {
    const { names, memory, write } = this.#options;
    const key = names.fold(name);
    if (!this.#pending.has(key) && this.#joined.size >= MAX_UNASKED) return;
    this.#joined.add(key);
    this.#refused.delete(key);
    this.#pending.get(key)?.resolve();
    this.#pending.delete(key);
    if (!this.#unrequested.delete(key) || memory.wants(name)) return;
    this.#parting.add(key);
    write(`PART ${name}`);
  }

  #parted(name: string): void {
    const key = this.#options.names.fold(name);
    const isAsked = this.#parting.delete(key) || this.#leaving.has(key);
    this.#out(name);
    if (!isAsked) this.#options.onNotice(`we were taken out of ${name}; join it again to go back`);
  }

  /** Left, kicked or removed: either way we do not come back by ourselves. */
  #out(name: string): void {
    const key = this.#options.names.fold(name);
    this.#options.memory.forget(name);
    this.#joined.delete(key);
    this.#leaving.get(key)?.resolve();
    this.#leaving.delete(key);
  }

  /** Tries what was refused: the reason may be gone, as we may have logged in by now. */
  again(): void {
    const { memory, write, names } = this.#options;
    const wishes = memory.wishes.filter(({ name }) => this.#refused.has(names.fold(name)));
    for (const wish of wishes) this.#wait(names.fold(wish.name));
    for (const line of this.#lines(wishes)) write(line);
  }
}

/** As few lines as servers take; channels with keys come first, as the keys are matched by order. */
export function joinLines(wishes: readonly Wish[], maxChannels = MAX_CHANNELS_PER_LINE): string[] {
  const most = Math.min(maxChannels, MAX_CHANNELS_PER_LINE);
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
    if (names.length === most || bytes > MAX_BYTES) flush();
    names.push(name);
    if (key !== undefined) keys.push(key);
  }
  flush();
  return lines;
}

/** Which lines are news: what becomes an event now, later as one of many, or not at all. */
import { createHash } from "node:crypto";
import type { PlatformEvent } from "@linkspan/daemon-kit";
import type { Settings } from "../config.ts";
import type { Self } from "../conversation.ts";
import { toEvents, type Line, type Seen } from "../inbound.ts";
import { type Batch, within } from "./batches.ts";
import type { Timers } from "./timers.ts";
import type { Memory } from "./memory.ts";
import { Netsplits } from "./netsplits.ts";

export interface NewsOptions {
  readonly self: () => Self;
  readonly memory: Memory;
  readonly membership: Settings["membership"];
  readonly isSelf: (nick: string) => boolean;
  readonly fold: (name: string) => string;
  readonly emit: (events: readonly PlatformEvent[]) => void;
  readonly timers: Timers;
  /** How long a netsplit's lines are gathered, milliseconds. */
  readonly splitMs: number;
}

/** Topics that are remembered; a server may name any number of channels. */
const MAX_TOPICS = 1_000;

/** What a line was before it was followed. */
export interface Happening {
  readonly line: Line;
  readonly seen: Seen;
  readonly batch: Batch | undefined;
  /** Who we were. */
  readonly before: Self;
  /** Folded channels of ours that its nickname was in. */
  readonly shared: readonly string[];
}

export class News implements Disposable {
  readonly #options: NewsOptions;
  readonly #netsplits: Netsplits;

  constructor(options: NewsOptions) {
    const { self, emit, timers, splitMs: quietMs } = options;
    this.#options = options;
    this.#netsplits = new Netsplits({ self, emit, timers, quietMs });
  }

  tell(happening: Happening): void {
    const { memory, emit } = this.#options;
    if (this.#isOfSplit(happening)) return;
    const { line, seen, before, shared } = happening;
    const events = toEvents(line, before, seen, shared).filter((event) => this.isWanted(event, line));
    const { msgid } = line.tags;
    if (events.length > 0 && msgid !== undefined) memory.learn(msgid);
    emit(events);
    this.#topic(line, seen);
  }

  /** Our own comings and goings are always told: they decide who of several accounts reads a channel. */
  isWanted({ payload }: PlatformEvent, { command, nick, params }: Line): boolean {
    const { membership, isSelf } = this.#options;
    if (payload.kind !== "membership" || membership === "all") return true;
    return payload.sender.is_self || isSelf(nick) || (command === "KICK" && isSelf(params[1] ?? ""));
  }

  [Symbol.dispose](): void {
    this.#netsplits[Symbol.dispose]();
  }

  #isOfSplit({ line, batch, shared, seen }: Happening): boolean {
    const { membership, fold } = this.#options;
    const [first = ""] = line.params;
    if (membership !== "all") return false;
    if (line.command === "JOIN") return this.#netsplits.join(line.nick, fold(first), seen);
    if (line.command !== "QUIT") return false;
    return this.#netsplits.quit(line.nick, within(batch, /^netsplit$/)?.params ?? [], first, shared, seen);
  }

  /** The topic that a channel has when we come in is news only if it is not the one we know. */
  #topic(line: Line, seen: Seen): void {
    const { memory, fold, self, emit } = this.#options;
    const isTopic = line.command === "TOPIC";
    if (!isTopic && line.command !== "332") return;
    const [channel = "", topic = ""] = isTopic ? line.params : line.params.slice(1);
    const key = fold(channel);
    const known = createHash("sha256").update(topic).digest("base64url");
    const isNews = !isTopic && memory.topics.get(key) !== known;
    memory.topics.delete(key);
    memory.topics.set(key, known);
    const [oldest] = memory.topics.keys();
    if (memory.topics.size > MAX_TOPICS && oldest !== undefined) memory.topics.delete(oldest);
    if (isNews) emit(toEvents({ ...line, command: "TOPIC", params: [channel, topic] }, self(), seen));
  }
}

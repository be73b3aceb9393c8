/** Events of live lines: which line becomes an event now, which later as one of many, and which not at all. */
import { createHash } from "node:crypto";
import type { PlatformEvent } from "@linkspan/daemon-kit";
import type { Settings } from "../config.ts";
import type { Self } from "../conversation.ts";
import { toEvents, type Line, type Seen } from "../inbound.ts";
import { type Batch, within } from "./batches.ts";
import type { Timers } from "./timers.ts";
import type { Memory } from "./memory.ts";
import type { Names } from "./names.ts";
import { Netsplits } from "./netsplits.ts";

export interface LiveEventsOptions {
  readonly names: Names;
  readonly memory: Memory;
  readonly membership: Settings["membership"];
  readonly emit: (events: readonly PlatformEvent[]) => void;
  readonly timers: Timers;
  /** How long a netsplit's lines are gathered, milliseconds. */
  readonly splitMs: number;
}

/** Topics that are remembered; a server may name any number of channels. */
const MAX_TOPICS = 1_000;

/** A line, and what was known before it was applied to the state of the connection. */
export interface LiveLine {
  readonly line: Line;
  readonly seen: Seen;
  readonly batch: Batch | undefined;
  /** Our account as it was. */
  readonly before: Self;
  /** Folded channels of ours that its nickname was in. */
  readonly shared: readonly string[];
}

export class LiveEvents implements Disposable {
  readonly #options: LiveEventsOptions;
  readonly #netsplits: Netsplits;

  constructor(options: LiveEventsOptions) {
    const { names, emit, timers, splitMs: quietMs } = options;
    this.#options = options;
    this.#netsplits = new Netsplits({ names, emit, timers, quietMs });
  }

  take(live: LiveLine): void {
    const { memory, emit } = this.#options;
    if (this.#isOfSplit(live)) return;
    const { line, seen, before, shared } = live;
    const events = toEvents(line, before, seen, shared).filter((event) => this.isWanted(event, line));
    const { msgid } = line.tags;
    if (events.length > 0 && msgid !== undefined) memory.learn(msgid);
    emit(events);
    this.#topic(line, seen);
  }

  /** Our own joins and parts are always events: they decide who of several accounts reads a channel. */
  isWanted({ payload }: PlatformEvent, { command, nick, params }: Line): boolean {
    const { membership, names } = this.#options;
    if (payload.kind !== "membership" || membership === "all") return true;
    return (
      payload.sender.is_self || names.isSelf(nick) || (command === "KICK" && names.isSelf(params[1] ?? ""))
    );
  }

  [Symbol.dispose](): void {
    this.#netsplits[Symbol.dispose]();
  }

  #isOfSplit({ line, batch, shared, seen }: LiveLine): boolean {
    const { membership, names } = this.#options;
    const [first = ""] = line.params;
    if (membership !== "all") return false;
    if (line.command === "JOIN") return this.#netsplits.join(line.nick, names.fold(first), seen);
    if (line.command !== "QUIT") return false;
    return this.#netsplits.quit(line.nick, within(batch, /^netsplit$/)?.params ?? [], first, shared, seen);
  }

  /** The topic that a channel has when we join is an event only if it is not the one we know. */
  #topic(line: Line, seen: Seen): void {
    const { memory, names, emit } = this.#options;
    const isTopic = line.command === "TOPIC";
    if (!isTopic && line.command !== "332") return;
    const [channel = "", topic = ""] = isTopic ? line.params : line.params.slice(1);
    const key = names.fold(channel);
    const known = createHash("sha256").update(topic).digest("base64url");
    const isNew = !isTopic && memory.topics.get(key) !== known;
    memory.topics.delete(key);
    memory.topics.set(key, known);
    const [oldest] = memory.topics.keys();
    if (memory.topics.size > MAX_TOPICS && oldest !== undefined) memory.topics.delete(oldest);
    if (isNew) emit(toEvents({ ...line, command: "TOPIC", params: [channel, topic] }, names.self, seen));
  }
}

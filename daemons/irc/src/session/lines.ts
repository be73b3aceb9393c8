/**
 * The path of a line of the server, in this order: liveness · history, which is kept apart, as it does not happen
 * now · the handshake and the joins, which may answer it · confirmations, which take our own echoes out · channels
 * and other state · events.
 */
import { type Line, type Seen, serverTime } from "../inbound.ts";
import { type Batch, Batches, within } from "./batches.ts";
import type { Memory } from "./memory.ts";
import { linesOf, oddityOf } from "./odd-lines.ts";
import type { Parts } from "./parts.ts";
import { isServiceLine } from "./service-lines.ts";
import type { Timers } from "./timers.ts";

export interface LinesOptions {
  readonly parts: Parts;
  readonly memory: Memory;
  readonly timers: Timers;
  /** Id of the connection. */
  readonly connection: string;
  /** The server's reason for closing the connection. */
  readonly onError: (words: string) => void;
}

/** Batches of a history, of a server or a bouncer, whatever vendor's prefix the name has. */
const HISTORY = /^(?:[a-z0-9.-]+\/)?(?:chathistory|playback)$/;

export class Lines {
  readonly #options: LinesOptions;
  readonly #batches = new Batches();
  #count = 0;

  constructor(options: LinesOptions) {
    this.#options = options;
  }

  /** A line that cannot be served is skipped with a warning; it never ends the connection. */
  take(line: Line): void {
    const { warnings } = this.#options.parts;
    const oddity = oddityOf(line);
    if (oddity !== undefined) {
      this.#count += 1;
      warnings.skipped(line.command, oddity);
      return;
    }
    for (const one of linesOf(line)) {
      try {
        this.#serve(one);
      } catch (error) {
        warnings.skipped(one.command, "it could not be served", error);
      }
    }
  }

  #serve(line: Line): void {
    const { parts, memory, timers, connection, onError } = this.#options;
    this.#count += 1;
    const seen: Seen = { connection, line: this.#count, receivedAt: timers.now() };
    parts.liveness.heard();
    const batch = this.#batches.of(line);
    const label = this.#batches.labelOf(line);
    const { ends } = this.#batches.see(line);
    const history = within(batch, HISTORY);
    if (ends !== undefined && HISTORY.test(ends.type)) parts.backfill.end(ends.params[0] ?? "");
    if (history !== undefined) {
      parts.names.see(line);
      // Before we are welcome nothing is an event, in a history or outside of one.
      if (parts.handshake.isWelcome && !isServiceLine(line, true))
        parts.backfill.collect(history.params[0] ?? "", line, seen);
      return;
    }
    if (line.command === "ERROR") onError(line.params.at(-1) ?? "");
    if (parts.isWelcome()) memory.seen(serverTime(line), seen.receivedAt);
    parts.handshake.see(line);
    const isAnswer = parts.joins.see(line);
    const follow = () => this.#follow(line, batch, seen);
    if (!isAnswer && parts.speaker.see(line, label, seen.receivedAt, follow)) return;
    if (parts.handshake.registered) follow();
  }

  /** Applies the line to the state of the connection and makes its events. */
  #follow(line: Line, batch: Batch | undefined, seen: Seen): void {
    const { names, channels, source, keyChanges, following, hidden, live, status, absence } =
      this.#options.parts;
    const before = names.self;
    const isOurs = names.isSelf(line.nick);
    const shared = line.command === "QUIT" || line.command === "NICK" ? channels.of(line.nick) : [];
    names.see(line);
    source.see(line, isOurs);
    keyChanges.see(line);
    channels.see(line);
    following.see(line, isOurs);
    if (isServiceLine(line, false) || hidden.includes(line)) return;
    live.take({ line, seen, batch, before, shared });
    if (line.command === "JOIN" && isOurs && !status.isConnected) absence.mend(line.params[0] ?? "");
  }
}

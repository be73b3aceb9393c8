/** Messages of the time when we were not connected: fetched where the server has kept them, reported as missing elsewhere. */
import type { Backfill } from "./backfill.ts";
import type { Timers } from "./timers.ts";

export interface AbsenceOptions {
  /** Where the last connection, or the checkpoint, ends; undefined: we were never here. */
  readonly from: Date | undefined;
  readonly hasHistory: () => boolean;
  readonly backfill: Backfill;
  readonly write: (line: string) => void;
  readonly timers: Timers;
  /** For a person. */
  readonly onLost: (sentence: string, error: unknown) => void;
}

const MAX_MESSAGES = 5_000;
const MAX_QUERIES = 50;

export class Absence {
  readonly #options: AbsenceOptions;

  constructor(options: AbsenceOptions) {
    this.#options = options;
  }

  /** For a person; empty when nothing can have been missed. */
  get sentence(): string {
    const { from, hasHistory, timers } = this.#options;
    if (from === undefined) return "";
    const since = from.toISOString();
    return hasHistory()
      ? `messages since ${since} are fetched from the server's history`
      : `this server keeps no history, so messages between ${since} and ${timers.now().toISOString()} are missing`;
  }

  /** Asks which people wrote to us; each is then {@link mend}ed. */
  askForQueries(): void {
    const { from, hasHistory, write, timers } = this.#options;
    if (from === undefined || !hasHistory()) return;
    const [since, until] = [from, timers.now()].map((moment) => `timestamp=${moment.toISOString()}`);
    write(`CHATHISTORY TARGETS ${since} ${until} ${MAX_QUERIES}`);
  }

  /** Closes the gap of one channel or query. */
  mend(target: string): void {
    const { from, hasHistory, backfill, onLost } = this.#options;
    if (from === undefined || !hasHistory()) return;
    backfill.since(target, from, MAX_MESSAGES).catch((error: unknown) => {
      onLost(`messages in ${target} since ${from.toISOString()} could not be fetched`, error);
    });
  }
}

/**
 * Refusals for the audit: counted in memory per minute and written every few seconds. Memory and disk use do
 * not grow with a flood of refusals: each kind has a limited number of subjects per minute, and all others
 * are counted together as `others`.
 */
import { addRefusals, type Database, pruneRefusals, type Refusal } from "@linkspan/store";
import type { Logger } from "pino";

export const REFUSAL_KINDS = ["unauthorized", "forbidden", "rate_limited", "enrolment", "bus"] as const;
export type RefusalKind = (typeof REFUSAL_KINDS)[number];

export interface RefusalNote {
  readonly kind: RefusalKind;
  /** `_` when no workspace is proven. */
  readonly workspaceId: string;
  /** `token:<name>`, `address:<address>` or `key:<kid>`. */
  readonly subject: string;
  readonly code: string;
}

/** Receives refusals. */
export interface RefusalLog {
  /** Never throws and does not wait. */
  note(refusal: RefusalNote): void;
}

export interface RefusalOptions {
  readonly now: () => Date;
  readonly log: Logger;
  /** How many subjects of one kind and minute get a row of their own. */
  readonly subjects?: number;
  /** Longest time from a refusal to its row, milliseconds. */
  readonly flushMs?: number;
}

const MINUTE_MS = 60_000;
const MAX_SUBJECT = 200;
const OTHERS = "others";
/** Most rows kept in memory while the database is unreachable; further ones are dropped. */
const MAX_WAITING = 10_000;
const PRUNE_EVERY_MS = 10 * MINUTE_MS;
const KEEP = { days: 30, rows: 200_000 } as const;

export class Refusals implements RefusalLog, AsyncDisposable {
  readonly #database: Database;
  readonly #options: Required<RefusalOptions>;
  #counted = new Map<string, Refusal>();
  /** By kind: the subjects that have a row of their own in this minute. */
  readonly #own = new Map<RefusalKind, Set<string>>();
  #minuteMs = 0;
  #flushing: Promise<void> = Promise.resolve();
  #timer: NodeJS.Timeout | undefined;
  #prunedAtMs = Number.NEGATIVE_INFINITY;

  constructor(database: Database, options: RefusalOptions) {
    this.#database = database;
    this.#options = { subjects: 200, flushMs: 2_000, ...options };
  }

  note({ kind, workspaceId, subject, code }: RefusalNote): void {
    this.#turnMinute();
    const named = { kind, workspaceId, subject: storable(subject), code };
    const counts = this.#isOwn(kind, JSON.stringify(named))
      ? named
      : { ...named, workspaceId: "_", subject: OTHERS };
    const minute = new Date(this.#minuteMs);
    this.#add({ minute, ...counts, count: 1 });
    this.#schedule();
  }

  /** Writes the counts. Counts that cannot be written are kept and written with the next ones. */
  async flush(): Promise<void> {
    this.#flushing = this.#flushing.then(() => this.#write());
    await this.#flushing;
  }

  #turnMinute(): void {
    const minuteMs = Math.floor(this.#options.now().getTime() / MINUTE_MS) * MINUTE_MS;
    if (minuteMs === this.#minuteMs) return;
    this.#minuteMs = minuteMs;
    this.#own.clear();
  }

  #isOwn(kind: RefusalKind, named: string): boolean {
    const own = this.#own.get(kind) ?? new Set();
    this.#own.set(kind, own);
    if (own.size < this.#options.subjects) own.add(named);
    return own.has(named);
  }

  #add(refusal: Refusal): void {
    const { count, ...counts } = refusal;
    const key = JSON.stringify(counts);
    const before = this.#counted.get(key)?.count ?? 0;
    if (before === 0 && this.#counted.size >= MAX_WAITING) return;
    this.#counted.set(key, { ...refusal, count: before + count });
  }

  #schedule(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      void this.flush();
    }, this.#options.flushMs).unref();
  }

  async #write(): Promise<void> {
    const counted = this.#counted;
    this.#counted = new Map();
    try {
      await addRefusals(this.#database.pool, [...counted.values()]);
    } catch (error) {
      this.#takeBack(counted);
      this.#options.log.warn(
        { event: "refusals.waiting", err: error },
        "refusals could not be written; tried again later",
      );
      return;
    }
    await this.#prune();
  }

  #takeBack(counted: ReadonlyMap<string, Refusal>): void {
    for (const refusal of counted.values()) this.#add(refusal);
    if (this.#counted.size > 0) this.#schedule();
  }

  async #prune(): Promise<void> {
    const nowMs = this.#options.now().getTime();
    if (nowMs - this.#prunedAtMs < PRUNE_EVERY_MS) return;
    this.#prunedAtMs = nowMs;
    await pruneRefusals(this.#database.pool, KEEP).catch((error: unknown) => {
      this.#options.log.warn(
        { event: "refusals.kept", err: error },
        "old refusals could not be deleted; tried again later",
      );
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearTimeout(this.#timer);
    await this.flush();
    clearTimeout(this.#timer);
  }
}

/** A key id is text from the sender: it may be long, and contain characters that no table can store. */
function storable(text: string): string {
  return text
    .slice(0, MAX_SUBJECT)
    .toWellFormed()
    .replace(/[\u0000-\u001f\u007f]/g, "?");
}

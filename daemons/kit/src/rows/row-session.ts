/**
 * The durable rows of one connection.
 *
 * not loaded → loaded → (a commit failed) → not loaded. Calls are answered in their order; commits that wait are sent
 * together. After a commit that failed, those that follow it fail too, until rows are loaded again: nobody may go on
 * from rows of which some are missing, or of which it does not know whether they are kept.
 */
import {
  checkRow,
  FabricError,
  isFabricError,
  LIMITS,
  PACKED_ROWS_BYTES,
  packedRowBytes,
  type RowChanges,
} from "@linkspan/envelopes";
import type { Rows } from "../connector.ts";
import type { RowLane } from "./row-lane.ts";

type Loaded = ReadonlyMap<string, Uint8Array>;

interface Load {
  readonly kind: "load";
  readonly resolve: (rows: Loaded) => void;
  readonly reject: (error: unknown) => void;
}

interface Commit {
  readonly kind: "commit";
  readonly changes: RowChanges;
  readonly bytes: number;
  /** Why it cannot be sent, if so. */
  readonly fault: FabricError | undefined;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/** Most bytes and commits that wait to be sent; a connector that waits for its commits stays far below. */
const MAX_WAITING_BYTES = LIMITS.rowsBytes;
const MAX_WAITING = 10_000;

export class RowSession implements Rows {
  readonly #lane: Pick<RowLane, "load" | "commit">;
  readonly #signal: AbortSignal;
  #waiting: (Load | Commit)[] = [];
  #waitingBytes = 0;
  #running = false;
  #version = 0;
  #failure: FabricError | undefined = new FabricError(
    "vault.conflict",
    "rows are loaded before any are committed",
  );

  /** @param signal aborted when the connection is over: nothing more is sent */
  constructor(lane: Pick<RowLane, "load" | "commit">, signal: AbortSignal) {
    this.#lane = lane;
    this.#signal = signal;
  }

  load(): Promise<Loaded> {
    return new Promise((resolve, reject) => this.#add({ kind: "load", resolve, reject }));
  }

  commit(changes: RowChanges): Promise<void> {
    return new Promise((resolve, reject) => {
      const fault = this.#faultIn(changes);
      const own = new Map(fault === undefined ? copyOf(changes) : []);
      const bytes = packedBytes(own);
      this.#waitingBytes += bytes;
      this.#add({ kind: "commit", changes: own, bytes, fault, resolve, reject });
    });
  }

  #add(call: Load | Commit): void {
    this.#waiting.push(call);
    if (!this.#running) void this.#run();
  }

  async #run(): Promise<void> {
    this.#running = true;
    // Commits of the same turn are sent together.
    await Promise.resolve();
    for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) {
      if (next.kind === "load") await this.#load(next);
      else await this.#commit(next);
    }
    this.#running = false;
  }

  async #load({ resolve, reject }: Load): Promise<void> {
    try {
      this.#signal.throwIfAborted();
      const { version, rows } = await this.#lane.load();
      this.#version = version;
      this.#failure = undefined;
      resolve(rows);
    } catch (error) {
      this.#failure = notGoingOn(error);
      reject(error);
    }
  }

  async #commit(first: Commit): Promise<void> {
    const { commits, changes } = this.#together(first);
    try {
      for (const { bytes } of commits) this.#waitingBytes -= bytes;
      if (this.#failure !== undefined) throw this.#failure;
      if (first.fault !== undefined) throw first.fault;
      this.#signal.throwIfAborted();
      this.#version = await this.#lane.commit(this.#version, changes);
      for (const { resolve } of commits) resolve();
    } catch (error) {
      this.#failure ??= notGoingOn(error);
      for (const { reject } of commits) reject(error);
    } finally {
      for (const { changes: own } of commits) for (const value of own.values()) value?.fill(0);
    }
  }

  /** The first commit and those after it that fit with it in one request; a later value replaces an earlier one. */
  #together(first: Commit): { readonly commits: readonly Commit[]; readonly changes: RowChanges } {
    const commits = [first];
    const changes = new Map(first.changes);
    let { bytes } = first;
    for (let next = this.#waiting[0]; first.fault === undefined; next = this.#waiting[0]) {
      if (next?.kind !== "commit" || next.fault !== undefined) break;
      bytes += next.bytes;
      const names = new Set([...changes.keys(), ...next.changes.keys()]);
      if (bytes > PACKED_ROWS_BYTES || names.size > LIMITS.rowChanges) break;
      for (const [name, value] of next.changes) changes.set(name, value);
      commits.push(next);
      this.#waiting.shift();
    }
    return { commits, changes };
  }

  #faultIn(changes: RowChanges): FabricError | undefined {
    try {
      for (const [name, value] of changes) checkRow(name, value);
    } catch (error) {
      if (isFabricError(error)) return error;
      return new FabricError("envelope.schema", "the changes are no rows", { cause: error });
    }
    if (changes.size > LIMITS.rowChanges)
      return new FabricError("envelope.schema", `a commit changes at most ${LIMITS.rowChanges} rows`);
    const bytes = packedBytes(changes);
    if (bytes > PACKED_ROWS_BYTES)
      return new FabricError(
        "envelope.schema",
        `a commit has at most ${PACKED_ROWS_BYTES} bytes, not ${bytes}`,
      );
    if (this.#waitingBytes + bytes > MAX_WAITING_BYTES || this.#waiting.length >= MAX_WAITING)
      return new FabricError("request.rate_limited", "too many commits wait", { retryAfterMs: 1_000 });
    return undefined;
  }
}

/** The reason of every later commit: the code of the first failure. */
function notGoingOn(cause: unknown): FabricError {
  const code = isFabricError(cause) ? cause.code : "vault.conflict";
  return new FabricError(code, "an earlier request failed: the rows must be loaded again", { cause });
}

/** The caller may change its bytes once it has handed them over. A Buffer's `slice` would not copy them. */
function copyOf(changes: RowChanges): [string, Uint8Array | undefined][] {
  return [...changes].map(([name, value]) => [name, value && new Uint8Array(value)]);
}

function packedBytes(changes: RowChanges): number {
  let bytes = 0;
  for (const [name, value] of changes) bytes += packedRowBytes(name, value);
  return bytes;
}

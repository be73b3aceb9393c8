/**
 * The durable rows of one identity, as this process asks for them: one request after the other, also those of two
 * connections that follow each other. So the load of a new connection never overtakes a commit of the one before.
 *
 * A question without an answer is asked again with the same bytes, which the core answers alike; when it gives up, it
 * is unknown whether the rows are kept, and only a new load tells.
 */
import {
  CODES,
  FabricError,
  isFabricError,
  type LoadRowsReply,
  openRows,
  type RowChanges,
  type RowsContext,
  type SealKeys,
  sealRows,
} from "@linkspan/envelopes";
import { backoffMs } from "@linkspan/time";
import type { Logger } from "pino";
import type { Author } from "../bus/author.ts";
import type { CoreCalls, Replies } from "../bus/core-calls.ts";
import type { LinkedIdentity } from "../connector.ts";
import type { Clock } from "../shared/clock.ts";

export interface RowLaneContext {
  readonly author: Pick<Author, "issuer">;
  readonly calls: CoreCalls;
  readonly sealKeys: SealKeys;
  /** The key that rows are sealed to; undefined: the core has announced none. */
  readonly vaultSealKey: () => Uint8Array | undefined;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

export interface LoadedRows {
  readonly version: number;
  readonly rows: ReadonlyMap<string, Uint8Array>;
}

/** How long the core may take for one answer, milliseconds. */
const ANSWER_MS = 5_000;
/** How long the same question is asked again, milliseconds; it expires ten seconds later. */
const ASK_FOR_MS = 50_000;
/** Loads that are begun anew because the rows changed between two pages. */
const MAX_LOADS = 3;

export class RowLane {
  readonly #identity: Pick<LinkedIdentity, "workspaceId" | "identityId">;
  readonly #context: RowLaneContext;
  readonly #log: Logger;
  /** The newest version that the core has confirmed to this process. */
  #confirmed = 0;
  #last: Promise<unknown> = Promise.resolve();

  constructor(
    identity: Pick<LinkedIdentity, "workspaceId" | "identityId">,
    context: RowLaneContext,
    log: Logger,
  ) {
    this.#identity = identity;
    this.#context = context;
    this.#log = log;
  }

  /**
   * @throws FabricError `lease.lost`, `vault.*`, `bus.*`; `vault.conflict` also when the core's rows are older than
   *   what it has confirmed to this process, as after the restore of a backup
   */
  load(): Promise<LoadedRows> {
    return this.#inTurn(async () => {
      for (let loads = 1; ; loads++) {
        try {
          return await this.#loadPages();
        } catch (error) {
          const changed = isFabricError(error) && error.code === "vault.conflict";
          if (!changed || loads === MAX_LOADS) throw error;
        }
      }
    });
  }

  /**
   * @param version that the changes build on
   * @returns the new version
   * @throws FabricError `vault.conflict`, `vault.full`, `lease.lost`; other `vault.*`, `bus.*`: perhaps it is kept
   */
  commit(version: number, changes: RowChanges): Promise<number> {
    return this.#inTurn(async () => {
      const key = this.#context.vaultSealKey();
      if (key === undefined) throw new FabricError("vault.unavailable", "the core has announced no seal key");
      const sealed = await sealRows(key, this.#boundTo("commit", version), changes);
      const identity_id = this.#identity.identityId;
      const reply = await this.#ask("commit_rows", { identity_id, version, sealed });
      if (reply.version !== version + 1)
        throw new FabricError("vault.conflict", `version ${version + 1} was to follow, not ${reply.version}`);
      this.#confirmed = reply.version;
      return reply.version;
    });
  }

  async #loadPages(): Promise<LoadedRows> {
    const rows = new Map<string, Uint8Array>();
    const identity_id = this.#identity.identityId;
    let page: LoadRowsReply = await this.#ask("load_rows", { identity_id });
    const { version } = page;
    await this.#take(page, "", rows);
    while (page.cursor !== undefined) {
      const { cursor } = page;
      page = await this.#ask("load_rows", { identity_id, version, cursor });
      if (page.version !== version || page.cursor === cursor)
        throw new FabricError("vault.conflict", "a page of other rows");
      await this.#take(page, cursor, rows);
    }
    if (version < this.#confirmed) {
      const detail = `the core has version ${version} of the rows, but has confirmed ${this.#confirmed}`;
      throw new FabricError("vault.conflict", detail);
    }
    this.#confirmed = version;
    return { version, rows };
  }

  async #take(
    { version, sealed }: LoadRowsReply,
    cursor: string,
    rows: Map<string, Uint8Array>,
  ): Promise<void> {
    if (sealed === undefined) return;
    const { privateKey } = this.#context.sealKeys;
    const opened = await openRows(privateKey, this.#boundTo("load", version, cursor), sealed);
    for (const [name, value] of opened) if (value !== undefined) rows.set(name, value);
  }

  #boundTo(direction: RowsContext["direction"], version: number, cursor = ""): RowsContext {
    const { workspaceId, identityId } = this.#identity;
    return { direction, daemon: this.#context.author.issuer, workspaceId, identityId, version, cursor };
  }

  async #ask<A extends "load_rows" | "commit_rows">(
    action: A,
    payload: Readonly<Record<string, unknown>>,
  ): Promise<Replies[A]> {
    const { calls, clock, signal } = this.#context;
    const question = calls.question("vault", action, payload, this.#identity.workspaceId);
    const endMs = clock.monotonicMs() + ASK_FOR_MS;
    for (let failures = 1; ; failures++) {
      try {
        return await calls.ask(question, action, { timeoutMs: ANSWER_MS, signal });
      } catch (error) {
        signal.throwIfAborted();
        const leftMs = endMs - clock.monotonicMs();
        if (!isFabricError(error) || CODES[error.code].retry === "never" || leftMs <= 0) throw error;
        this.#log.warn({ event: "rows.unanswered", action, failures, code: error.code });
        const pauseMs = error.retryAfterMs ?? backoffMs({ minMs: 100, maxMs: 5_000 }, failures);
        await clock.sleep(Math.min(leftMs, pauseMs), signal);
      }
    }
  }

  async #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(work, work);
    this.#last = turn.catch(() => undefined);
    return turn;
  }
}

/** Durable rows for tests of a connector: kept in memory, held back or refused as a test wants. */
import { FabricError } from "@linkspan/envelopes";
import type { Rows } from "../connector.ts";

export class RecordedRows implements Rows {
  /** What is kept, for every connection that is given it. */
  readonly kept: Map<string, Uint8Array>;
  /** How many commits were asked for. */
  commits = 0;
  loads = 0;
  #loaded = false;
  #refuses = false;
  #gate: PromiseWithResolvers<void> | undefined;

  /** @param kept by an earlier connection of the same identity */
  constructor(kept: Map<string, Uint8Array> = new Map()) {
    this.kept = kept;
  }

  /** From now on no commit is kept, until {@link release}. */
  hold(): void {
    this.#gate ??= Promise.withResolvers();
  }

  release(): void {
    this.#gate?.resolve();
    this.#gate = undefined;
  }

  /** From now on no commit is kept, and each is refused. */
  refuse(): void {
    this.#refuses = true;
  }

  async load(): Promise<ReadonlyMap<string, Uint8Array>> {
    this.loads += 1;
    this.#loaded = !this.#refuses;
    if (this.#refuses) throw new FabricError("vault.unavailable", "no rows are given");
    return new Map([...this.kept].map(([name, value]) => [name, new Uint8Array(value)]));
  }

  commit(changes: ReadonlyMap<string, Uint8Array | undefined>): Promise<void> {
    this.commits += 1;
    const committed = this.#commit(
      new Map([...changes].map(([name, value]) => [name, value && new Uint8Array(value)])),
    );
    // As in the kit: a rejection that the connector ignores is not an unhandled rejection.
    committed.catch(() => undefined);
    return committed;
  }

  async #commit(changes: ReadonlyMap<string, Uint8Array | undefined>): Promise<void> {
    if (!this.#loaded) throw new FabricError("vault.conflict", "rows are loaded before any are committed");
    await this.#gate?.promise;
    if (this.#refuses) {
      this.#loaded = false;
      throw new FabricError("vault.unavailable", "no rows are kept");
    }
    for (const [name, value] of changes) {
      if (value === undefined) this.kept.delete(name);
      else this.kept.set(name, value);
    }
  }
}

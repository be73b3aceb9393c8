/** A cache of recently unwrapped data keys, so that a remote key backend is not asked for every secret. */
import type { KeyBackend, WrappedKey } from "./key-backend.ts";
import { dataKeyContext } from "./envelope-encryption.ts";

/** A workspace's data key as stored. */
export interface WorkspaceKey {
  readonly workspaceId: string;
  readonly keyVersion: number;
  readonly wrapped: WrappedKey;
}

export interface DataKeyOptions {
  /** How long an unused key stays in memory, milliseconds, default 5 minutes. */
  readonly keepMs?: number;
  /** Maximum number of keys in the cache, default 1,000. */
  readonly maxKeys?: number;
}

export class DataKeys {
  readonly #backend: KeyBackend;
  readonly #keepMs: number;
  readonly #maxKeys: number;
  /** Keyed by the wrapped bytes, in order of last use: a changed row gets another entry. */
  readonly #kept = new Map<string, { readonly key: Uint8Array; readonly untilMs: number }>();
  #generation = 0;

  constructor(backend: KeyBackend, options: DataKeyOptions = {}) {
    this.#backend = backend;
    this.#keepMs = options.keepMs ?? 300_000;
    this.#maxKeys = options.maxKeys ?? 1_000;
  }

  /**
   * Runs `work` with the key, which is overwritten with zeros afterwards; `work` must not keep it.
   *
   * @throws FabricError `vault.unavailable`, or what `work` throws
   */
  async use<T>(stored: WorkspaceKey, now: Date, work: (key: Uint8Array) => T): Promise<T> {
    const key = await this.#copyOf(stored, now.getTime());
    try {
      return work(key);
    } finally {
      key.fill(0);
    }
  }

  /** Wipes all cached keys. */
  forget(): void {
    for (const { key } of this.#kept.values()) key.fill(0);
    this.#kept.clear();
    this.#generation += 1;
  }

  async #copyOf(stored: WorkspaceKey, nowMs: number): Promise<Uint8Array> {
    this.#dropOld(nowMs);
    const { workspaceId, keyVersion, wrapped } = stored;
    const name = [workspaceId, keyVersion, wrapped.keyId, Buffer.from(wrapped.bytes).toString("hex")].join(
      "/",
    );
    const known = this.#kept.get(name);
    if (known !== undefined) {
      this.#keep(name, known.key, nowMs);
      return new Uint8Array(known.key);
    }
    const generation = this.#generation;
    const key = await this.#backend.unwrap(wrapped, dataKeyContext(workspaceId, keyVersion));
    if (generation === this.#generation) this.#keep(name, new Uint8Array(key), nowMs);
    return key;
  }

  #keep(name: string, key: Uint8Array, nowMs: number): void {
    const other = this.#kept.get(name);
    if (other !== undefined && other.key !== key) other.key.fill(0);
    this.#kept.delete(name);
    this.#kept.set(name, { key, untilMs: nowMs + this.#keepMs });
  }

  #dropOld(nowMs: number): void {
    for (const [name, { key, untilMs }] of this.#kept) {
      if (untilMs > nowMs && this.#kept.size < this.#maxKeys) return;
      key.fill(0);
      this.#kept.delete(name);
    }
  }
}

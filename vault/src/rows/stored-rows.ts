/** Opens what is stored of a set, and holds it against the set's state: whatever was altered is refused. */
import {
  FabricError,
  fromBase64url,
  LIMITS,
  PACKED_ROWS_BYTES,
  PartReader,
  packedRowBytes,
  toBase64url,
} from "@linkspan/envelopes";
import type { DataKeys, WorkspaceKey } from "../keys/data-keys.ts";
import { openVersion } from "../keys/envelope-encryption.ts";
import type { CredentialVersions } from "../store/credential-versions.ts";
import type { StoreTransaction } from "../store/secret-store.ts";
import { rowBinding, setBinding } from "./open-set.ts";
import type { PagedRow, StoredSet } from "./row-store.ts";
import { assertRows, hashedName, type SetState, unpackState } from "./set-state.ts";

export interface StoredRowsOptions {
  readonly versions: CredentialVersions;
  readonly dataKeys: DataKeys;
  readonly now: () => Date;
}

/** The data keys that a transaction needs, each read once. */
export class KeysOfTransaction {
  readonly #tx: StoreTransaction;
  readonly #versions: CredentialVersions;
  readonly #known = new Map<string, Promise<WorkspaceKey>>();

  constructor(tx: StoreTransaction, versions: CredentialVersions) {
    this.#tx = tx;
    this.#versions = versions;
  }

  /** @throws FabricError `vault.unavailable` when it was shredded */
  get(workspaceId: string, keyVersion: number): Promise<WorkspaceKey> {
    const name = `${workspaceId} ${keyVersion}`;
    const known = this.#known.get(name) ?? this.#versions.keyOf(this.#tx, workspaceId, keyVersion);
    this.#known.set(name, known);
    return known;
  }
}

export class StoredRows {
  readonly #options: StoredRowsOptions;

  constructor({ versions, dataKeys, now }: StoredRowsOptions) {
    this.#options = { versions, dataKeys, now };
  }

  /** @throws FabricError `vault.unavailable` when it was altered or its key was shredded */
  async state(keys: KeysOfTransaction, set: StoredSet): Promise<SetState> {
    const { version, keyVersion, sealed } = set;
    const packed = await this.#opened(keys, set, keyVersion, (dataKey) =>
      openVersion(dataKey, setBinding(set, version, keyVersion), sealed),
    );
    const state = unpackState(packed);
    packed.fill(0);
    return state;
  }

  /**
   * The rows of a page, after all rows were held against the set's state.
   *
   * @returns rows whose bytes the caller wipes, and the cursor of the next page
   * @throws FabricError `vault.unavailable`
   */
  async page(
    tx: StoreTransaction,
    set: StoredSet,
    cursor: string | undefined,
  ): Promise<{ readonly rows: Map<string, Uint8Array>; readonly next: string | undefined }> {
    const after = cursor === undefined ? new Uint8Array() : fromBase64url(cursor);
    if (after === undefined) throw new FabricError("envelope.schema", "the cursor is not base64url");
    const all = await tx.rows.page(set.setId, {
      after,
      maxRows: LIMITS.rowChanges,
      maxBytes: PACKED_ROWS_BYTES,
      overheadBytes: packedRowBytes("", undefined),
    });
    const keys = new KeysOfTransaction(tx, this.#options.versions);
    const state = await this.state(keys, set);
    const rows = new Map<string, Uint8Array>();
    try {
      await assertRows(state, all);
      const page = all.filter(({ sealed }) => sealed !== undefined);
      for (const row of page) {
        const [name, value] = await this.#openRow(keys, set, state, row);
        rows.set(name, value);
      }
      const last = page.at(-1);
      const isMore = last !== undefined && last !== all.at(-1);
      return { rows, next: isMore ? toBase64url(last.name) : undefined };
    } catch (error) {
      for (const value of rows.values()) value.fill(0);
      throw error;
    } finally {
      state.key.fill(0);
    }
  }

  async #openRow(
    keys: KeysOfTransaction,
    set: StoredSet,
    state: SetState,
    row: PagedRow,
  ): Promise<[name: string, value: Uint8Array]> {
    const { sealed } = row;
    if (sealed === undefined) throw new TypeError("a row of another page");
    const plain = await this.#opened(keys, set, row.keyVersion, (dataKey) =>
      openVersion(dataKey, rowBinding(set, row), sealed),
    );
    try {
      const parts = new PartReader(plain);
      const name = Buffer.from(parts.next() ?? []).toString("utf8");
      const value = new Uint8Array(parts.next() ?? []);
      if (Buffer.compare(hashedName(state, name), row.name) !== 0) {
        throw new FabricError("vault.unavailable", "a stored row has another name");
      }
      return [name, value];
    } finally {
      plain.fill(0);
    }
  }

  async #opened(
    keys: KeysOfTransaction,
    { owner }: StoredSet,
    keyVersion: number,
    work: (dataKey: Uint8Array) => Uint8Array,
  ): Promise<Uint8Array> {
    const { dataKeys, now } = this.#options;
    return dataKeys.use(await keys.get(owner.workspaceId, keyVersion), now(), work);
  }
}

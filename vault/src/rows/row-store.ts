/**
 * What the vault stores of durable rows. A store holds hashed names and ciphertexts, so a reader of it learns how many
 * rows an identity has, how large they are and when they change.
 */
import type { SealedVersion } from "../keys/envelope-encryption.ts";
import type { Mark } from "./set-state.ts";

/** Whose rows they are: one set for each identity. */
export interface RowOwner {
  readonly workspaceId: string;
  readonly identityId: string;
}

export interface StoredSet {
  readonly setId: string;
  readonly owner: RowOwner;
  readonly service: string;
  /** Number of commits so far. */
  readonly version: number;
  readonly keyVersion: number;
  readonly sealed: SealedVersion;
  /** `message_id` of the request that made this version. */
  readonly requestId: string;
  readonly rows: number;
  readonly bytes: number;
}

export interface StoredMark extends Mark {
  readonly setId: string;
}

export interface StoredRow extends StoredMark {
  readonly sealed: SealedVersion;
}

/** All rows of a set, and the ciphertexts of those on the page. */
export interface PagedRow extends Mark {
  readonly sealed: SealedVersion | undefined;
}

export interface PageOfRows {
  /** Hashed name of the last row before the page; empty for the first page. */
  readonly after: Uint8Array;
  readonly maxRows: number;
  /** Of the packed rows. */
  readonly maxBytes: number;
  /** Added to `bytes` of each row. */
  readonly overheadBytes: number;
}

export interface RowRows {
  /**
   * Waits for every other transaction that has locked one of these sets, and keeps others out until this one ends;
   * also for sets that do not exist yet.
   */
  lock(owners: readonly RowOwner[]): Promise<void>;
  sets(owners: readonly RowOwner[]): Promise<readonly StoredSet[]>;
  /** Those of the named rows that exist. */
  marks(
    names: readonly { readonly setId: string; readonly name: Uint8Array }[],
  ): Promise<readonly StoredMark[]>;
  save(
    sets: readonly StoredSet[],
    put: readonly StoredRow[],
    deleted: readonly { readonly setId: string; readonly name: Uint8Array }[],
  ): Promise<void>;
  /** In one statement: what it returns was there at one moment. Ordered by hashed name. */
  page(setId: string, page: PageOfRows): Promise<readonly PagedRow[]>;
  /** @returns how many rows there were */
  drop(owner: RowOwner): Promise<number>;
  dropWorkspace(workspaceId: string): Promise<number>;
}

/**
 * What the vault keeps of a set of rows as a whole, encrypted: a key of the set's own, and a digest of which rows it
 * has, each in which version. A row that was set back, removed or added behind the vault's back no longer fits it.
 *
 * The digest is the exclusive or of one keyed hash per row, so a commit changes it by the rows that it touches. This
 * is safe only because nobody can read it: it is never stored in clear.
 */
import { createHmac, randomBytes } from "node:crypto";
import { setImmediate as nextRound } from "node:timers/promises";
import { FabricError, lengthPrefixed } from "@linkspan/envelopes";

const KEY_BYTES = 32;
const DIGEST_BYTES = 32;
const STATE_BYTES = KEY_BYTES + DIGEST_BYTES + 4 + 8;

export interface SetState {
  /** Names are hashed with it. It stays the same when the workspace's data key is rotated. */
  readonly key: Uint8Array;
  readonly digest: Uint8Array;
  rows: number;
  /** Bytes of names and values. */
  bytes: number;
}

/** One stored row, without its value. */
export interface Mark {
  /** Keyed hash of the name, 32 bytes. */
  readonly name: Uint8Array;
  /** The commit that wrote it. */
  readonly version: number;
  /** Version of the workspace's data key that encrypts it. */
  readonly keyVersion: number;
  /** Bytes of its name and value. */
  readonly bytes: number;
}

export function freshState(): SetState {
  return { key: randomBytes(KEY_BYTES), digest: new Uint8Array(DIGEST_BYTES), rows: 0, bytes: 0 };
}

/** What a row is found by: its name cannot be read from it. */
export function hashedName({ key }: SetState, name: string): Uint8Array {
  return createHmac("sha256", key)
    .update(lengthPrefixed(["name", name]))
    .digest();
}

/** Counts a row in. */
export function add(state: SetState, mark: Mark): void {
  toggle(state, mark);
  state.rows += 1;
  state.bytes += mark.bytes;
}

/** Counts a row out. */
export function remove(state: SetState, mark: Mark): void {
  toggle(state, mark);
  state.rows -= 1;
  state.bytes -= mark.bytes;
}

/** Rows that are looked at before other work of the process has its turn: about 5 ms. */
const ROWS_AT_ONCE = 500;

/** @throws FabricError (rejects) `vault.unavailable` unless these are exactly the rows that the set was left with */
export async function assertRows(state: SetState, marks: readonly Mark[]): Promise<void> {
  const found: SetState = { key: state.key, digest: new Uint8Array(DIGEST_BYTES), rows: 0, bytes: 0 };
  for (const [at, mark] of marks.entries()) {
    if (at % ROWS_AT_ONCE === ROWS_AT_ONCE - 1) await nextRound();
    add(found, mark);
  }
  const same =
    found.rows === state.rows &&
    found.bytes === state.bytes &&
    Buffer.compare(found.digest, state.digest) === 0;
  if (!same) throw new FabricError("vault.unavailable", "the stored rows are not those that were kept");
}

/** @returns bytes that the caller wipes */
export function packState({ key, digest, rows, bytes }: SetState): Uint8Array {
  const packed = new Uint8Array(STATE_BYTES);
  packed.set(key);
  packed.set(digest, KEY_BYTES);
  const view = new DataView(packed.buffer);
  view.setUint32(KEY_BYTES + DIGEST_BYTES, rows);
  view.setBigUint64(KEY_BYTES + DIGEST_BYTES + 4, BigInt(bytes));
  return packed;
}

/** Inverse of {@link packState}, of bytes that were authenticated. */
export function unpackState(packed: Uint8Array): SetState {
  const view = new DataView(packed.buffer, packed.byteOffset, packed.byteLength);
  return {
    // Copies, also of a Buffer, whose `slice` is none.
    key: new Uint8Array(packed.subarray(0, KEY_BYTES)),
    digest: new Uint8Array(packed.subarray(KEY_BYTES, KEY_BYTES + DIGEST_BYTES)),
    rows: view.getUint32(KEY_BYTES + DIGEST_BYTES),
    bytes: Number(view.getBigUint64(KEY_BYTES + DIGEST_BYTES + 4)),
  };
}

function toggle(state: SetState, { name, version, keyVersion, bytes }: Mark): void {
  const parts = ["row", name, String(version), String(keyVersion), String(bytes)];
  const hash = createHmac("sha256", state.key).update(lengthPrefixed(parts)).digest();
  for (const [at, byte] of hash.entries()) state.digest[at] = (state.digest[at] ?? 0) ^ byte;
}

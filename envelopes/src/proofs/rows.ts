/**
 * Durable rows on their way (contract section 8): sealed like credentials, in a form that can also delete.
 *
 * The plaintext is a list of rows in the order of their names' bytes. Each row has three length-prefixed parts: its
 * name, `put` or `delete`, and its value, which is empty for `delete`. An empty part and zeros up to a multiple of
 * 256 bytes end it.
 */
import { isUtf8 } from "node:buffer";
import { FabricError } from "../errors/errors.ts";
import { LIMITS } from "../payloads/limits.ts";
import type { Sealed } from "../payloads/vault.ts";
import { lengthPrefixed, PartReader } from "./length-prefixed.ts";
import { openBytes, sealBytes } from "./sealed.ts";

/** New values by name; undefined deletes the row. The bytes are the owner's to wipe. */
export type RowChanges = ReadonlyMap<string, Uint8Array | undefined>;

/** Values to which sealed rows are bound; they do not open with others. */
export interface RowsContext {
  /** `commit`: from the daemon to the core. `load`: the answer. */
  readonly direction: "commit" | "load";
  /** Issuer string of the daemon, for both directions. */
  readonly daemon: string;
  readonly workspaceId: string;
  readonly identityId: string;
  /** The version that a commit builds on; the version that a load gives. */
  readonly version: number;
  /** The cursor that a page was asked with; empty for the first page and for a commit. */
  readonly cursor: string;
}

const PAD_TO = 256;
const PUT = "put";
const DELETE = "delete";
/** Three lengths, and the longer of the two words. */
const OVERHEAD = 3 * 4 + DELETE.length;

/** HPKE `info` of sealed rows. */
export function rowsInfo(context: RowsContext): Uint8Array {
  const { direction, daemon, workspaceId, identityId, version, cursor } = context;
  return lengthPrefixed([
    "linkspan.rows.v1",
    direction,
    daemon,
    workspaceId,
    identityId,
    String(version),
    cursor,
  ]);
}

/** Most bytes that a row takes of `LIMITS.rowPageBytes`. */
export function packedRowBytes(name: string, value: Uint8Array | undefined): number {
  return OVERHEAD + Buffer.byteLength(name) + (value?.byteLength ?? 0);
}

/** What is left of `LIMITS.rowPageBytes` for rows: the end of the list and the padding take the rest. */
export const PACKED_ROWS_BYTES = LIMITS.rowPageBytes - PAD_TO;

/** @throws FabricError `envelope.schema` when the name or the value is outside the limits */
export function checkRow(name: string, value: Uint8Array | undefined): void {
  if (!name.isWellFormed()) throw outside("a name is not well-formed text");
  const bytes = Buffer.byteLength(name);
  if (bytes < 1 || bytes > LIMITS.rowNameBytes) {
    throw outside(`a name has ${bytes} bytes, not 1 to ${LIMITS.rowNameBytes}`);
  }
  if (value !== undefined && value.byteLength > LIMITS.rowBytes) {
    throw outside(`a value has ${value.byteLength} bytes, more than ${LIMITS.rowBytes}`);
  }
}

/**
 * @returns bytes that the caller wipes
 * @throws FabricError `envelope.schema` for rows outside the limits
 */
export function packRows(changes: RowChanges): Uint8Array<ArrayBuffer> {
  const rows = [...changes].map(([name, value]) => {
    checkRow(name, value);
    return { key: Buffer.from(name, "utf8"), value };
  });
  if (rows.length > LIMITS.rowChanges) throw outside(`more than ${LIMITS.rowChanges} rows`);
  rows.sort((a, b) => Buffer.compare(a.key, b.key));
  const packed = lengthPrefixed(
    rows.flatMap(({ key, value }) => [key, value === undefined ? DELETE : PUT, value ?? new Uint8Array()]),
  );
  const size = Math.ceil((packed.byteLength + 4) / PAD_TO) * PAD_TO;
  const padded = new Uint8Array(size);
  padded.set(packed);
  packed.fill(0);
  if (size <= LIMITS.rowPageBytes) return padded;
  padded.fill(0);
  throw outside(`more than ${LIMITS.rowPageBytes} bytes`);
}

/**
 * Inverse of {@link packRows}. The values are copies.
 *
 * @throws FabricError `envelope.schema` for anything that `packRows` does not write
 */
export function unpackRows(bytes: Uint8Array): Map<string, Uint8Array | undefined> {
  const rows = new Map<string, Uint8Array | undefined>();
  if (bytes.byteLength > LIMITS.rowPageBytes || bytes.byteLength % PAD_TO !== 0) {
    throw outside("its length is not that of packed rows");
  }
  const parts = new PartReader(bytes);
  const next = (): Uint8Array => {
    const part = parts.next();
    if (part === undefined) throw outside("a row is cut off");
    return part;
  };
  let previous: Uint8Array = new Uint8Array();
  for (let key = next(); key.byteLength > 0; key = next()) {
    if (!isUtf8(key)) throw outside("a name is no text");
    if (Buffer.compare(previous, key) >= 0) throw outside("the names are not in order");
    const name = Buffer.from(key).toString("utf8");
    const word = Buffer.from(next()).toString("latin1");
    const part = next();
    if (word !== PUT && (word !== DELETE || part.byteLength > 0))
      throw outside("a row is neither put nor deleted");
    const value = word === PUT ? new Uint8Array(part) : undefined;
    checkRow(name, value);
    rows.set(name, value);
    previous = key;
  }
  if (rows.size > LIMITS.rowChanges) throw outside(`more than ${LIMITS.rowChanges} rows`);
  if (!parts.isPadding()) throw outside("bytes follow the rows");
  return rows;
}

/**
 * @param recipientPublicKey the core's newest seal key, or the daemon's
 * @throws FabricError `envelope.schema` for rows outside the limits, `envelope.unknown_key`
 */
export async function sealRows(
  recipientPublicKey: Uint8Array,
  context: RowsContext,
  changes: RowChanges,
): Promise<Sealed> {
  return sealBytes(recipientPublicKey, rowsInfo(context), packRows(changes));
}

/**
 * @returns rows whose bytes the caller wipes
 * @throws FabricError `vault.unavailable` when it does not open, `envelope.schema` when it holds no rows
 */
export async function openRows(
  privateKey: Uint8Array,
  context: RowsContext,
  sealed: Sealed,
): Promise<Map<string, Uint8Array | undefined>> {
  const plain = await openBytes(privateKey, rowsInfo(context), sealed);
  try {
    return unpackRows(plain);
  } finally {
    plain.fill(0);
  }
}

function outside(why: string): FabricError {
  return new FabricError("envelope.schema", `the rows are refused: ${why}`);
}

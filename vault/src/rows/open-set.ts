/**
 * A set of rows that a transaction has locked and opened. Commits change it in memory, one after the other; what they
 * changed is sealed and stored at the end.
 */
import { randomUUID } from "node:crypto";
import { FabricError, LIMITS, lengthPrefixed, type RowChanges } from "@linkspan/envelopes";
import { type Binding, sealVersion } from "../keys/envelope-encryption.ts";
import type { RowOwner, StoredMark, StoredRow, StoredSet } from "./row-store.ts";
import { add, freshState, hashedName, type Mark, packState, remove, type SetState } from "./set-state.ts";

export interface WantedChange {
  readonly version: number;
  /** `message_id`: the same request is answered again. */
  readonly requestId: string;
  readonly changes: RowChanges;
}

interface Written {
  readonly mark: Mark;
  readonly name: string;
  readonly value: Uint8Array;
}

export class OpenSet {
  readonly owner: RowOwner;
  readonly service: string;
  readonly setId: string;
  readonly state: SetState;
  #version: number;
  #requestId: string;
  #changed = false;
  /** By hashed name in hex: rows as they are after the commits so far. */
  readonly #marks = new Map<string, Mark>();
  /** What is to be stored, by hashed name in hex; undefined: to be deleted. */
  readonly #written = new Map<string, Written | undefined>();

  constructor(
    owner: RowOwner,
    service: string,
    stored?: { readonly set: StoredSet; readonly state: SetState },
  ) {
    this.owner = owner;
    this.service = stored?.set.service ?? service;
    this.setId = stored?.set.setId ?? randomUUID();
    this.state = stored?.state ?? freshState();
    this.#version = stored?.set.version ?? 0;
    this.#requestId = stored?.set.requestId ?? "";
  }

  get isChanged(): boolean {
    return this.#changed;
  }

  nameOf(name: string): Uint8Array {
    return hashedName(this.state, name);
  }

  /** Rows that are stored under names which commits will change. */
  found(marks: readonly StoredMark[]): void {
    for (const mark of marks) if (mark.setId === this.setId) this.#marks.set(hex(mark.name), mark);
  }

  /**
   * @param keyVersion of the data key that encrypts what it writes
   * @returns the new version, or why nothing of it is done
   */
  apply({ version, requestId, changes }: WantedChange, keyVersion: number): number | FabricError {
    if (requestId === this.#requestId) return this.#version;
    if (version !== this.#version) {
      return new FabricError("vault.conflict", `version ${this.#version} is current, not ${version}`);
    }
    const next = version + 1;
    const touched = [...changes].map(([name, value]) => {
      const hashed = this.nameOf(name);
      const bytes = value === undefined ? 0 : Buffer.byteLength(name) + value.byteLength;
      const before = this.#marks.get(hex(hashed));
      return { name, value, before, mark: { name: hashed, version: next, keyVersion, bytes } };
    });
    const grown = touched.reduce((sum, { before, mark }) => sum + mark.bytes - (before?.bytes ?? 0), 0);
    const more = touched.reduce(
      (sum, { before, value }) => sum + Number(value !== undefined) - Number(before !== undefined),
      0,
    );
    const full = fullness(this.state, more, grown);
    if (full !== undefined) return full;
    for (const { name, value, before, mark } of touched) {
      const key = hex(mark.name);
      if (before !== undefined) remove(this.state, before);
      this.#marks.delete(key);
      if (value === undefined) {
        this.#written.set(key, undefined);
        continue;
      }
      add(this.state, mark);
      this.#marks.set(key, mark);
      this.#written.set(key, { mark, name, value });
    }
    this.#version = next;
    this.#requestId = requestId;
    this.#changed = true;
    return next;
  }

  /** @param dataKey of that version; used at once, not kept */
  sealed(
    dataKey: Uint8Array,
    keyVersion: number,
  ): {
    readonly set: StoredSet;
    readonly put: readonly StoredRow[];
    readonly deleted: readonly { readonly setId: string; readonly name: Uint8Array }[];
  } {
    const { setId, owner, service, state } = this;
    const version = this.#version;
    const put: StoredRow[] = [];
    const deleted: { readonly setId: string; readonly name: Uint8Array }[] = [];
    for (const [key, written] of this.#written) {
      if (written === undefined) {
        deleted.push({ setId, name: Buffer.from(key, "hex") });
        continue;
      }
      const plain = lengthPrefixed([written.name, written.value]);
      const binding = rowBinding(this, written.mark);
      put.push({ setId, ...written.mark, sealed: sealVersion(dataKey, binding, plain) });
      plain.fill(0);
    }
    const packed = packState(state);
    const sealed = sealVersion(dataKey, setBinding(this, version, keyVersion), packed);
    packed.fill(0);
    const { rows, bytes } = state;
    const requestId = this.#requestId;
    return {
      set: { setId, owner, service, version, keyVersion, sealed, requestId, rows, bytes },
      put,
      deleted,
    };
  }

  wipe(): void {
    this.state.key.fill(0);
    this.state.digest.fill(0);
  }
}

interface Bound {
  readonly setId: string;
  readonly owner: RowOwner;
  readonly service: string;
}

/** What the state of a set is bound to. */
export function setBinding(set: Bound, version: number, keyVersion: number): Binding {
  const { owner, service, setId } = set;
  return { ...owner, service, kind: "rows", secretId: `${setId} rows`, version, keyVersion };
}

/** What a row is bound to: its set, its name and the commit that wrote it. */
export function rowBinding(set: Bound, { name, version, keyVersion }: Omit<Mark, "bytes">): Binding {
  const { owner, service, setId } = set;
  return { ...owner, service, kind: `row ${hex(name)}`, secretId: `${setId} row`, version, keyVersion };
}

function fullness(state: SetState, moreRows: number, moreBytes: number): FabricError | undefined {
  const rows = state.rows + moreRows;
  const bytes = state.bytes + moreBytes;
  // Who has reached a bound may still delete.
  if (rows > LIMITS.rows && moreRows > 0) {
    return new FabricError("vault.full", `the account may keep ${LIMITS.rows} rows, not ${rows}`);
  }
  if (bytes > LIMITS.rowsBytes && moreBytes > 0) {
    return new FabricError("vault.full", `the account may keep ${LIMITS.rowsBytes} bytes, not ${bytes}`);
  }
  return undefined;
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}

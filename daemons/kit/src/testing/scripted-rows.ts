/** Durable rows at the scripted core: kept by version, as the core keeps them. */
import { FabricError, openRows, type RowsContext, type Sealed, sealRows } from "@linkspan/envelopes";
import type { ScriptedKeys } from "./scripted-keys.ts";

export interface KeptRows {
  readonly version: number;
  readonly rows: ReadonlyMap<string, Uint8Array>;
  /** `message_id` of the request that made this version. */
  readonly requestId: string;
}

type Payload = Readonly<Record<string, unknown>>;

export class ScriptedRows {
  /** By identity. */
  readonly kept = new Map<string, KeptRows>();
  /** Names of the rows that each commit changed, in order. */
  readonly commits: (readonly string[])[] = [];
  /** Rows in one answer to `load_rows`. */
  pageRows = 100;
  /** Error that requests are refused with, if any; nothing is kept then. */
  refusal: FabricError | undefined;
  /** Answers that are lost from now on, though what was asked is done. */
  lostAnswers = 0;
  /** Requests wait for it. */
  gate: Promise<void> = Promise.resolve();
  readonly #keys: ScriptedKeys;
  readonly #daemon: string;
  readonly #workspace: string;

  /** @param daemon issuer to which rows are sealed */
  constructor(keys: ScriptedKeys, daemon: string, workspace: string) {
    this.#keys = keys;
    this.#daemon = daemon;
    this.#workspace = workspace;
  }

  /** @returns undefined when the answer is lost. @throws FabricError the error of the answer */
  async answer(action: string, payload: Payload, requestId: string): Promise<object | undefined> {
    await this.gate;
    if (this.refusal !== undefined) throw this.refusal;
    const identityId = String(payload.identity_id);
    const known = this.kept.get(identityId) ?? { version: 0, rows: new Map(), requestId: "" };
    const reply =
      action === "load_rows"
        ? await this.#load(identityId, known, payload)
        : await this.#commit(identityId, known, payload, requestId);
    if (this.lostAnswers === 0) return reply;
    this.lostAnswers -= 1;
    return undefined;
  }

  async #load(identityId: string, { version, rows }: KeptRows, { cursor }: Payload): Promise<object> {
    const from = typeof cursor === "string" ? Buffer.from(cursor, "base64url").readUInt32BE() : 0;
    const page = [...rows].slice(from, from + this.pageRows);
    if (page.length === 0) return { version };
    const context = this.#bound("load", identityId, version, typeof cursor === "string" ? cursor : "");
    const { sealKeys } = await this.#keys.enrol();
    const sealed = await sealRows(sealKeys.publicKey, context, new Map(page));
    const next = Buffer.alloc(32);
    next.writeUInt32BE(from + page.length);
    const isMore = from + page.length < rows.size;
    return { version, sealed, ...(isMore && { cursor: next.toString("base64url") }) };
  }

  async #commit(
    identityId: string,
    known: KeptRows,
    { version, sealed }: Payload,
    requestId: string,
  ): Promise<object> {
    if (known.requestId === requestId) return { version: known.version };
    if (known.version !== version) throw new FabricError("vault.conflict", "there is another version");
    const context = this.#bound("commit", identityId, version);
    const changes = await openRows(this.#keys.sealKeys.privateKey, context, sealed as Sealed);
    const rows = new Map(known.rows);
    for (const [name, value] of changes) {
      if (value === undefined) rows.delete(name);
      else rows.set(name, value);
    }
    this.commits.push([...changes.keys()]);
    this.kept.set(identityId, { version: version + 1, rows, requestId });
    return { version: version + 1 };
  }

  #bound(direction: RowsContext["direction"], identityId: string, version: number, cursor = ""): RowsContext {
    return { direction, daemon: this.#daemon, workspaceId: this.#workspace, identityId, version, cursor };
  }
}

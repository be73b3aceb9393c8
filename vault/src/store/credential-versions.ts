/**
 * Reads and writes versions of a credential inside a transaction: rows on one side, plaintext on the other.
 */
import { randomBytes, randomUUID } from "node:crypto";
import { type CredentialFields, FabricError, packFields, unpackFields } from "@linkspan/envelopes";
import { KEY_BYTES } from "../keys/aead.ts";
import type { DataKeys, WorkspaceKey } from "../keys/data-keys.ts";
import {
  assertHead,
  type Binding,
  type CredentialRef,
  dataKeyContext,
  headSeal,
  openVersion,
  sealVersion,
} from "../keys/envelope-encryption.ts";
import type { KeyBackend } from "../keys/key-backend.ts";
import { Secret } from "../secret.ts";
import type { Head, HandOver, StoreTransaction, VersionRow } from "./secret-store.ts";

/** Number of versions that stay readable: the current one and those just before it. */
const KEPT_VERSIONS = 8;

export interface WriteOrigin {
  /** `message_id` of the request that writes. */
  readonly requestId?: string;
  /** Fence of the lease that writes. */
  readonly fence?: number;
}

export class CredentialVersions {
  readonly #backend: KeyBackend;
  readonly #dataKeys: DataKeys;

  constructor(backend: KeyBackend, dataKeys: DataKeys) {
    this.#backend = backend;
    this.#dataKeys = dataKeys;
  }

  /** The key for a workspace's new secrets. Lock it before any head; otherwise shredding may deadlock. */
  async writingKey(tx: StoreTransaction, workspaceId: string): Promise<WorkspaceKey> {
    const known = await tx.keys.newest(workspaceId);
    if (known !== undefined) return known;
    await tx.keys.lockWorkspace(workspaceId);
    return (await tx.keys.newest(workspaceId)) ?? this.addKey(tx, workspaceId);
  }

  /** A new data key. It is used for all writes from now on; older keys are still used for reading. */
  async addKey(tx: StoreTransaction, workspaceId: string): Promise<WorkspaceKey> {
    await tx.keys.lockWorkspace(workspaceId);
    const keyVersion = await tx.keys.nextVersion(workspaceId);
    const fresh = randomBytes(KEY_BYTES);
    try {
      const wrapped = await this.#backend.wrap(fresh, dataKeyContext(workspaceId, keyVersion));
      const key: WorkspaceKey = { workspaceId, keyVersion, wrapped };
      await tx.keys.add(key);
      return key;
    } finally {
      fresh.fill(0);
    }
  }

  /** @returns the new version */
  async append(
    tx: StoreTransaction,
    head: Head,
    key: WorkspaceKey,
    fields: CredentialFields,
    now: Date,
    origin: WriteOrigin = {},
  ): Promise<number> {
    const version = head.version + 1;
    const minVersion = Math.max(head.minVersion, version - KEPT_VERSIONS + 1);
    const binding = bindingOf(head.ref, head.secretId, version, key.keyVersion);
    const packed = packFields(fields);
    try {
      const { sealed, seal } = await this.#dataKeys.use(key, now, (dataKey) => ({
        sealed: sealVersion(dataKey, binding, packed),
        seal: headSeal(dataKey, binding, minVersion),
      }));
      const row: VersionRow = { version, keyVersion: key.keyVersion, sealed, requestId: origin.requestId };
      await tx.secrets.append(head, row, minVersion, seal, origin.fence ?? head.writerFence);
      return version;
    } finally {
      packed.fill(0);
    }
  }

  /**
   * @param version default the current one; older ones as long as they are kept
   * @returns undefined when there is no credential; the caller disposes of the secret
   * @throws FabricError `vault.unavailable` when a row is missing, altered, swapped or set back
   */
  async read(
    tx: StoreTransaction,
    head: Head,
    now: Date,
    version: number = head.version,
  ): Promise<Secret | undefined> {
    if (head.empty) return undefined;
    const current = await this.#row(tx, head, head.version);
    const key = await this.keyOf(tx, head.ref.workspaceId, current.keyVersion);
    const binding = bindingOf(head.ref, head.secretId, current.version, current.keyVersion);
    await this.#dataKeys.use(key, now, (dataKey) => assertHead(dataKey, binding, head.minVersion, head.seal));
    const row = version === head.version ? current : await this.#row(tx, head, version);
    return this.#open(tx, bindingOf(head.ref, head.secretId, row.version, row.keyVersion), row.sealed, now);
  }

  /** Stores fields for a short time, to be taken once; they replace fields that wait already. */
  async handOver(
    tx: StoreTransaction,
    head: Head,
    key: WorkspaceKey,
    fields: CredentialFields,
    now: Date,
    expiresAt: Date,
  ): Promise<void> {
    const handOverId = randomUUID();
    const binding = bindingOf(handOverRef(head.ref), handOverId, 1, key.keyVersion);
    const packed = packFields(fields);
    try {
      const sealed = await this.#dataKeys.use(key, now, (dataKey) => sealVersion(dataKey, binding, packed));
      const handOver: HandOver = {
        handOverId,
        keyVersion: key.keyVersion,
        sealed,
        expiresAt,
        takenBy: undefined,
      };
      await tx.handOvers.put(head.secretId, handOver);
    } finally {
      packed.fill(0);
    }
  }

  /** @param handOver a hand-over of this head; the caller disposes of the secret */
  openHandOver(tx: StoreTransaction, head: Head, handOver: HandOver, now: Date): Promise<Secret> {
    const { handOverId, keyVersion, sealed } = handOver;
    return this.#open(tx, bindingOf(handOverRef(head.ref), handOverId, 1, keyVersion), sealed, now);
  }

  async #row(tx: StoreTransaction, head: Head, version: number): Promise<VersionRow> {
    if (version < head.minVersion) {
      throw new FabricError("vault.unavailable", "that version of the credential is below the minimum");
    }
    const row = await tx.secrets.version(head.secretId, version);
    if (row === undefined) {
      throw new FabricError("vault.unavailable", "a version of the credential is missing");
    }
    return row;
  }

  /** The key that something was encrypted with. @throws FabricError `vault.unavailable` when it was shredded */
  async keyOf(tx: StoreTransaction, workspaceId: string, keyVersion: number): Promise<WorkspaceKey> {
    const key = await tx.keys.find(workspaceId, keyVersion);
    if (key === undefined) throw new FabricError("vault.unavailable", "the workspace's key was shredded");
    return key;
  }

  async #open(
    tx: StoreTransaction,
    binding: Binding,
    sealed: VersionRow["sealed"],
    now: Date,
  ): Promise<Secret> {
    const key = await this.keyOf(tx, binding.workspaceId, binding.keyVersion);
    const packed = await this.#dataKeys.use(key, now, (dataKey) => openVersion(dataKey, binding, sealed));
    try {
      return new Secret(unpackFields(packed));
    } finally {
      packed.fill(0);
    }
  }
}

function bindingOf(ref: CredentialRef, secretId: string, version: number, keyVersion: number): Binding {
  return { ...ref, secretId, version, keyVersion };
}

/** No stored version can be used in place of a hand-over, nor the other way round. */
function handOverRef(ref: CredentialRef): CredentialRef {
  return { ...ref, kind: `hand-over of ${ref.kind}` };
}

import { randomUUID } from "node:crypto";
import type { CredentialRef } from "../keys/envelope-encryption.ts";
import { migrateVault } from "./migrations.ts";
import { PgHandOverRows } from "./pg-hand-over-rows.ts";
import { PgKeyRows } from "./pg-key-rows.ts";
import { PgLeaseRows } from "./pg-lease-rows.ts";
import { PgRowRows } from "../rows/pg-row-rows.ts";
import type { Head, SecretRows, SecretStore, StoreTransaction, VersionRow } from "./secret-store.ts";
import { inTransaction, type Pool, type Transaction } from "./transaction.ts";

/** The vault's tables in PostgreSQL, schema `vault`. The pool's owner closes the pool. */
export class PgSecretStore implements SecretStore {
  readonly #pool: Pool;

  constructor(pool: Pool) {
    this.#pool = pool;
  }

  migrate(): Promise<void> {
    return migrateVault(this.#pool);
  }

  transaction<T>(work: (tx: StoreTransaction) => Promise<T>): Promise<T> {
    return inTransaction(this.#pool, (client) =>
      work({
        client,
        keys: new PgKeyRows(client),
        secrets: new PgSecretRows(client),
        leases: new PgLeaseRows(client),
        handOvers: new PgHandOverRows(client),
        rows: new PgRowRows(client),
      }),
    );
  }
}

/** `bigint` arrives as text. */
interface HeadColumns {
  secret_id: string;
  workspace_id: string;
  identity_id: string;
  service: string;
  kind: string;
  version: string;
  min_version: string;
  head_seal: Buffer | null;
  dropped: boolean;
  writer_fence: string;
}

interface VersionColumns {
  version: string;
  key_version: number;
  nonce: Buffer;
  ciphertext: Buffer;
  commitment: Buffer;
  request_id: string | null;
}

const BY_REF = "workspace_id = $1 AND identity_id = $2 AND service = $3 AND kind = $4";

class PgSecretRows implements SecretRows {
  readonly #tx: Transaction;

  constructor(tx: Transaction) {
    this.#tx = tx;
  }

  find(ref: CredentialRef): Promise<Head | undefined> {
    return this.#head(`SELECT * FROM vault.secrets WHERE ${BY_REF}`, columnsOf(ref));
  }

  async lock(ref: CredentialRef): Promise<Head> {
    const locked = `SELECT * FROM vault.secrets WHERE ${BY_REF} FOR UPDATE`;
    const known = await this.#head(locked, columnsOf(ref));
    if (known !== undefined) return known;
    await this.#tx.query(
      `INSERT INTO vault.secrets (workspace_id, identity_id, service, kind, secret_id)
       VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING`,
      [...columnsOf(ref), randomUUID()],
    );
    const made = await this.#head(locked, columnsOf(ref));
    if (made === undefined) throw new TypeError("a head that was just made is gone");
    return made;
  }

  lockById(secretId: string): Promise<Head | undefined> {
    return this.#head("SELECT * FROM vault.secrets WHERE secret_id = $1 FOR UPDATE", [secretId]);
  }

  async version(secretId: string, version: number): Promise<VersionRow | undefined> {
    const { rows } = await this.#tx.query<VersionColumns>(
      "SELECT * FROM vault.secret_versions WHERE secret_id = $1 AND version = $2",
      [secretId, version],
    );
    const [row] = rows;
    if (row === undefined) return undefined;
    return {
      version: Number(row.version),
      keyVersion: row.key_version,
      sealed: { nonce: row.nonce, bytes: row.ciphertext, commitment: row.commitment },
      requestId: row.request_id ?? undefined,
    };
  }

  async append(
    head: Head,
    row: VersionRow,
    minVersion: number,
    seal: Uint8Array,
    writerFence: number = head.writerFence,
  ): Promise<void> {
    const { secretId } = head;
    const { nonce, bytes, commitment } = row.sealed;
    await this.#tx.query(
      `INSERT INTO vault.secret_versions
         (secret_id, version, key_version, nonce, ciphertext, commitment, request_id)
       VALUES ($1, $2, $3, $4, $5, $6, $7)`,
      [secretId, row.version, row.keyVersion, nonce, bytes, commitment, row.requestId ?? null],
    );
    await this.#tx.query(
      `UPDATE vault.secrets
       SET version = $2, min_version = $3, head_seal = $4, writer_fence = $5, dropped = false
       WHERE secret_id = $1`,
      [secretId, row.version, minVersion, seal, writerFence],
    );
    await this.#tx.query("DELETE FROM vault.secret_versions WHERE secret_id = $1 AND version < $2", [
      secretId,
      minVersion,
    ]);
  }

  async nextFence(secretId: string): Promise<number> {
    const { rows } = await this.#tx.query<{ fence: string }>(
      "UPDATE vault.secrets SET fence = fence + 1 WHERE secret_id = $1 RETURNING fence",
      [secretId],
    );
    return Number(rows[0]?.fence);
  }

  async drop(secretId: string): Promise<void> {
    await this.#tx.query("DELETE FROM vault.secret_versions WHERE secret_id = $1", [secretId]);
    await this.#tx.query("DELETE FROM vault.hand_overs WHERE secret_id = $1", [secretId]);
    await this.#tx.query(
      `UPDATE vault.secrets SET dropped = true, head_seal = NULL, min_version = version + 1 WHERE secret_id = $1`,
      [secretId],
    );
  }

  async dropWorkspace(workspaceId: string): Promise<number> {
    const { rows } = await this.#tx.query<{ secret_id: string; held: boolean }>(
      `SELECT secret_id, version > 0 AND NOT dropped AS held
       FROM vault.secrets WHERE workspace_id = $1 ORDER BY secret_id FOR UPDATE`,
      [workspaceId],
    );
    for (const row of rows) await this.drop(row.secret_id);
    return rows.filter((row) => row.held).length;
  }

  async #head(sql: string, values: readonly string[]): Promise<Head | undefined> {
    const { rows } = await this.#tx.query<HeadColumns>(sql, [...values]);
    const [row] = rows;
    if (row === undefined) return undefined;
    return {
      secretId: row.secret_id,
      ref: {
        workspaceId: row.workspace_id,
        identityId: row.identity_id,
        service: row.service,
        kind: row.kind,
      },
      version: Number(row.version),
      minVersion: Number(row.min_version),
      seal: row.head_seal ?? undefined,
      empty: row.version === "0" || row.dropped,
      writerFence: Number(row.writer_fence),
    };
  }
}

function columnsOf(ref: CredentialRef): string[] {
  return [ref.workspaceId, ref.identityId, ref.service, ref.kind];
}

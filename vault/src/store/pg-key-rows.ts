import type { WorkspaceKey } from "../keys/data-keys.ts";
import type { WrappedKey } from "../keys/key-backend.ts";
import type { KeyRows } from "./secret-store.ts";
import type { Transaction } from "./transaction.ts";

interface Columns {
  workspace_id: string;
  key_version: number;
  key_id: string;
  wrapped: Buffer;
}

const LIVE =
  "SELECT workspace_id, key_version, key_id, wrapped FROM vault.workspace_keys WHERE wrapped IS NOT NULL";

export class PgKeyRows implements KeyRows {
  readonly #tx: Transaction;

  constructor(tx: Transaction) {
    this.#tx = tx;
  }

  async unsealCheck(fresh: () => Promise<WrappedKey>): Promise<WrappedKey> {
    const known = await this.#storedCheck();
    if (known !== undefined) return known;
    const { keyId, bytes } = await fresh();
    await this.#tx.query(
      "INSERT INTO vault.unseal_check (key_id, wrapped) VALUES ($1, $2) ON CONFLICT DO NOTHING",
      [keyId, bytes],
    );
    return (await this.#storedCheck()) ?? { keyId, bytes };
  }

  async replaceUnsealCheck({ keyId, bytes }: WrappedKey): Promise<void> {
    await this.#tx.query("UPDATE vault.unseal_check SET key_id = $1, wrapped = $2", [keyId, bytes]);
  }

  newest(workspaceId: string): Promise<WorkspaceKey | undefined> {
    const newest = `${LIVE} AND workspace_id = $1 ORDER BY key_version DESC LIMIT 1 FOR SHARE`;
    return this.#one(newest, [workspaceId]);
  }

  find(workspaceId: string, keyVersion: number): Promise<WorkspaceKey | undefined> {
    return this.#one(`${LIVE} AND workspace_id = $1 AND key_version = $2`, [workspaceId, keyVersion]);
  }

  async lockWorkspace(workspaceId: string): Promise<void> {
    await this.#tx.query("SELECT pg_advisory_xact_lock(hashtextextended('linkspan.vault.keys ' || $1, 0))", [
      workspaceId,
    ]);
  }

  async nextVersion(workspaceId: string): Promise<number> {
    const { rows } = await this.#tx.query<{ next: number }>(
      "SELECT coalesce(max(key_version), 0) + 1 AS next FROM vault.workspace_keys WHERE workspace_id = $1",
      [workspaceId],
    );
    return rows[0]?.next ?? 1;
  }

  async add({ workspaceId, keyVersion, wrapped }: WorkspaceKey): Promise<void> {
    await this.#tx.query(
      `INSERT INTO vault.workspace_keys (workspace_id, key_version, key_id, wrapped)
       VALUES ($1, $2, $3, $4)`,
      [workspaceId, keyVersion, wrapped.keyId, wrapped.bytes],
    );
  }

  async wrappedByOthers(keyId: string, limit: number): Promise<readonly WorkspaceKey[]> {
    const { rows } = await this.#tx.query<Columns>(
      `${LIVE} AND key_id <> $1 ORDER BY workspace_id, key_version LIMIT $2 FOR UPDATE SKIP LOCKED`,
      [keyId, limit],
    );
    return rows.map(keyOf);
  }

  async replaceWrapped({ workspaceId, keyVersion, wrapped }: WorkspaceKey): Promise<void> {
    await this.#tx.query(
      `UPDATE vault.workspace_keys SET key_id = $3, wrapped = $4
       WHERE workspace_id = $1 AND key_version = $2 AND wrapped IS NOT NULL`,
      [workspaceId, keyVersion, wrapped.keyId, wrapped.bytes],
    );
  }

  async destroy(workspaceId: string, now: Date): Promise<number> {
    const { rowCount } = await this.#tx.query(
      `UPDATE vault.workspace_keys SET key_id = NULL, wrapped = NULL, destroyed_at = $2
       WHERE workspace_id = $1 AND wrapped IS NOT NULL`,
      [workspaceId, now],
    );
    return rowCount ?? 0;
  }

  async #one(sql: string, values: readonly unknown[]): Promise<WorkspaceKey | undefined> {
    const { rows } = await this.#tx.query<Columns>(sql, [...values]);
    return rows[0] && keyOf(rows[0]);
  }

  async #storedCheck(): Promise<WrappedKey | undefined> {
    const { rows } = await this.#tx.query<Pick<Columns, "key_id" | "wrapped">>(
      "SELECT key_id, wrapped FROM vault.unseal_check",
    );
    return rows[0] && { keyId: rows[0].key_id, bytes: rows[0].wrapped };
  }
}

function keyOf(row: Columns): WorkspaceKey {
  return {
    workspaceId: row.workspace_id,
    keyVersion: row.key_version,
    wrapped: { keyId: row.key_id, bytes: row.wrapped },
  };
}

import type { HandOver, HandOverRows } from "./secret-store.ts";
import type { Transaction } from "./transaction.ts";

interface Columns {
  hand_over_id: string;
  key_version: number;
  nonce: Buffer;
  ciphertext: Buffer;
  commitment: Buffer;
  taken_by: string | null;
  expires_at: Date;
}

export class PgHandOverRows implements HandOverRows {
  readonly #tx: Transaction;

  constructor(tx: Transaction) {
    this.#tx = tx;
  }

  async put(secretId: string, handOver: HandOver): Promise<void> {
    const { handOverId, keyVersion, sealed, expiresAt } = handOver;
    await this.#tx.query("DELETE FROM vault.hand_overs WHERE secret_id = $1", [secretId]);
    await this.#tx.query(
      `INSERT INTO vault.hand_overs
         (secret_id, hand_over_id, key_version, nonce, ciphertext, commitment, expires_at)
       VALUES ($1, $2, $3, $4, $5, $6, $7)`,
      [secretId, handOverId, keyVersion, sealed.nonce, sealed.bytes, sealed.commitment, expiresAt],
    );
  }

  take(secretId: string, requestId: string, now: Date): Promise<HandOver | undefined> {
    return this.#good(
      `UPDATE vault.hand_overs SET taken_by = $2
       WHERE secret_id = $1 AND coalesce(taken_by, $2) = $2 RETURNING *`,
      [secretId, requestId],
      now,
    );
  }

  remove(secretId: string, now: Date): Promise<HandOver | undefined> {
    return this.#good("DELETE FROM vault.hand_overs WHERE secret_id = $1 RETURNING *", [secretId], now);
  }

  async removeTaken(secretId: string): Promise<void> {
    await this.#tx.query("DELETE FROM vault.hand_overs WHERE secret_id = $1 AND taken_by IS NOT NULL", [
      secretId,
    ]);
  }

  async sweep(now: Date): Promise<number> {
    const { rowCount } = await this.#tx.query("DELETE FROM vault.hand_overs WHERE expires_at <= $1", [now]);
    return rowCount ?? 0;
  }

  async #good(sql: string, values: readonly string[], now: Date): Promise<HandOver | undefined> {
    const { rows } = await this.#tx.query<Columns>(sql, [...values]);
    const [row] = rows;
    if (row === undefined || row.expires_at <= now) return undefined;
    return {
      handOverId: row.hand_over_id,
      keyVersion: row.key_version,
      sealed: { nonce: row.nonce, bytes: row.ciphertext, commitment: row.commitment },
      expiresAt: row.expires_at,
      takenBy: row.taken_by ?? undefined,
    };
  }
}

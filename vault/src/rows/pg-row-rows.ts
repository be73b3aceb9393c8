import type { SealedVersion } from "../keys/envelope-encryption.ts";
import type { Transaction } from "../store/transaction.ts";
import type {
  PagedRow,
  PageOfRows,
  RowOwner,
  RowRows,
  StoredMark,
  StoredRow,
  StoredSet,
} from "./row-store.ts";

/** `bigint` arrives as text. */
interface SealedColumns {
  nonce: Buffer;
  ciphertext: Buffer;
  commitment: Buffer;
}

interface SetColumns extends SealedColumns {
  set_id: string;
  workspace_id: string;
  identity_id: string;
  service: string;
  version: string;
  key_version: number;
  request_id: string;
  row_count: number;
  bytes: string;
}

interface MarkColumns {
  set_id: string;
  name: Buffer;
  version: string;
  key_version: number;
  bytes: number;
}

export class PgRowRows implements RowRows {
  readonly #tx: Transaction;

  constructor(tx: Transaction) {
    this.#tx = tx;
  }

  async lock(owners: readonly RowOwner[]): Promise<void> {
    // In the order of the locks themselves, so that two groups never wait for each other.
    await this.#query(
      "rows.lock",
      `SELECT pg_advisory_xact_lock(h) FROM (
         SELECT DISTINCT hashtextextended('linkspan.vault.rows ' || w || ' ' || i, 0) AS h
           FROM unnest($1::text[], $2::text[]) AS t (w, i) ORDER BY h) AS locks`,
      columnsOf(owners),
    );
  }

  async sets(owners: readonly RowOwner[]): Promise<readonly StoredSet[]> {
    const rows = await this.#query<SetColumns>(
      "rows.sets",
      `SELECT s.* FROM vault.row_sets s
         JOIN (SELECT DISTINCT * FROM unnest($1::text[], $2::text[]) AS t (workspace_id, identity_id)) AS t
        USING (workspace_id, identity_id)`,
      columnsOf(owners),
    );
    return rows.map((row) => ({
      setId: row.set_id,
      owner: { workspaceId: row.workspace_id, identityId: row.identity_id },
      service: row.service,
      version: Number(row.version),
      keyVersion: row.key_version,
      sealed: sealedOf(row),
      requestId: row.request_id,
      rows: row.row_count,
      bytes: Number(row.bytes),
    }));
  }

  async marks(
    names: readonly { readonly setId: string; readonly name: Uint8Array }[],
  ): Promise<readonly StoredMark[]> {
    if (names.length === 0) return [];
    const rows = await this.#query<MarkColumns>(
      "rows.marks",
      `SELECT r.set_id, r.name, r.version, r.key_version, r.bytes FROM vault.rows r
         JOIN unnest($1::uuid[], $2::bytea[]) AS t (set_id, name) USING (set_id, name)`,
      [names.map(({ setId }) => setId), names.map(({ name }) => name)],
    );
    return rows.map((row) => ({ setId: row.set_id, ...markOf(row) }));
  }

  async save(
    sets: readonly StoredSet[],
    put: readonly StoredRow[],
    deleted: readonly { readonly setId: string; readonly name: Uint8Array }[],
  ): Promise<void> {
    await this.#saveSets(sets);
    if (put.length > 0) await this.#put(put);
    if (deleted.length === 0) return;
    await this.#query(
      "rows.delete",
      `DELETE FROM vault.rows r USING unnest($1::uuid[], $2::bytea[]) AS t (set_id, name)
        WHERE r.set_id = t.set_id AND r.name = t.name`,
      [deleted.map(({ setId }) => setId), deleted.map(({ name }) => name)],
    );
  }

  async page(
    setId: string,
    { after, maxRows, maxBytes, overheadBytes }: PageOfRows,
  ): Promise<readonly PagedRow[]> {
    const rows = await this.#query<MarkColumns & { [K in keyof SealedColumns]: SealedColumns[K] | null }>(
      "rows.page",
      `WITH sized AS (
         SELECT name, version, key_version, bytes,
                sum(bytes + $4::bigint) FILTER (WHERE name > $2) OVER (ORDER BY name) AS total,
                count(*) FILTER (WHERE name > $2) OVER (ORDER BY name) AS place
           FROM vault.rows WHERE set_id = $1)
       SELECT s.name, s.version, s.key_version, s.bytes, r.nonce, r.ciphertext, r.commitment
         FROM sized s LEFT JOIN vault.rows r
           ON r.set_id = $1 AND r.name = s.name AND s.name > $2 AND s.total <= $3 AND s.place <= $5
        ORDER BY s.name`,
      [setId, after, maxBytes, overheadBytes, maxRows],
    );
    return rows.map(({ nonce, ciphertext, commitment, ...row }) => {
      const isOnPage = nonce !== null && ciphertext !== null && commitment !== null;
      return { ...markOf(row), sealed: isOnPage ? sealedOf({ nonce, ciphertext, commitment }) : undefined };
    });
  }

  async drop({ workspaceId, identityId }: RowOwner): Promise<number> {
    return this.#dropWhere("workspace_id = $1 AND identity_id = $2", [workspaceId, identityId]);
  }

  async dropWorkspace(workspaceId: string): Promise<number> {
    return this.#dropWhere("workspace_id = $1", [workspaceId]);
  }

  async #dropWhere(where: string, values: readonly string[]): Promise<number> {
    const { rows } = await this.#tx.query<{ row_count: number }>(
      `DELETE FROM vault.row_sets WHERE ${where} RETURNING row_count`,
      [...values],
    );
    return rows.reduce((sum, row) => sum + row.row_count, 0);
  }

  async #saveSets(sets: readonly StoredSet[]): Promise<void> {
    if (sets.length === 0) return;
    await this.#query(
      "rows.save_sets",
      `INSERT INTO vault.row_sets (set_id, workspace_id, identity_id, service, version, key_version, nonce, ciphertext,
         commitment, request_id, row_count, bytes)
       SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::integer[], $7::bytea[],
         $8::bytea[], $9::bytea[], $10::text[], $11::integer[], $12::bigint[])
       ON CONFLICT (set_id) DO UPDATE SET version = excluded.version, key_version = excluded.key_version,
         nonce = excluded.nonce, ciphertext = excluded.ciphertext, commitment = excluded.commitment,
         request_id = excluded.request_id, row_count = excluded.row_count, bytes = excluded.bytes`,
      [
        sets.map(({ setId }) => setId),
        sets.map(({ owner }) => owner.workspaceId),
        sets.map(({ owner }) => owner.identityId),
        sets.map(({ service }) => service),
        sets.map(({ version }) => version),
        sets.map(({ keyVersion }) => keyVersion),
        ...sealedColumns(sets),
        sets.map(({ requestId }) => requestId),
        sets.map(({ rows }) => rows),
        sets.map(({ bytes }) => bytes),
      ],
    );
  }

  async #put(rows: readonly StoredRow[]): Promise<void> {
    await this.#query(
      "rows.put",
      `INSERT INTO vault.rows (set_id, name, version, key_version, bytes, nonce, ciphertext, commitment)
       SELECT * FROM unnest($1::uuid[], $2::bytea[], $3::bigint[], $4::integer[], $5::integer[], $6::bytea[],
         $7::bytea[], $8::bytea[])
       ON CONFLICT (set_id, name) DO UPDATE SET version = excluded.version, key_version = excluded.key_version,
         bytes = excluded.bytes, nonce = excluded.nonce, ciphertext = excluded.ciphertext,
         commitment = excluded.commitment`,
      [
        rows.map(({ setId }) => setId),
        rows.map(({ name }) => name),
        rows.map(({ version }) => version),
        rows.map(({ keyVersion }) => keyVersion),
        rows.map(({ bytes }) => bytes),
        ...sealedColumns(rows),
      ],
    );
  }

  /** Each name is one text: it is prepared once per connection. */
  async #query<Row extends object>(name: string, text: string, values: readonly unknown[]): Promise<Row[]> {
    const { rows } = await this.#tx.query<Row>({ name: `vault.${name}`, text, values: [...values] });
    return rows;
  }
}

function columnsOf(owners: readonly RowOwner[]): readonly (readonly string[])[] {
  return [owners.map(({ workspaceId }) => workspaceId), owners.map(({ identityId }) => identityId)];
}

function sealedColumns(all: readonly { readonly sealed: SealedVersion }[]): readonly unknown[] {
  return [
    all.map(({ sealed }) => sealed.nonce),
    all.map(({ sealed }) => sealed.bytes),
    all.map(({ sealed }) => sealed.commitment),
  ];
}

function sealedOf({ nonce, ciphertext, commitment }: SealedColumns): SealedVersion {
  return { nonce, bytes: ciphertext, commitment };
}

function markOf({ name, version, key_version, bytes }: Omit<MarkColumns, "set_id">) {
  return { name, version: Number(version), keyVersion: key_version, bytes };
}

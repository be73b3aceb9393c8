/** A vault on a database of its own, with an audit table beside it and a clock that a test moves. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FabricError } from "@linkspan/envelopes";
import {
  type CredentialRef,
  EnvelopeVault,
  FileKeyBackend,
  PgSecretStore,
  type RowAuthority,
  type Transaction,
  type VaultAuditEntry,
} from "@linkspan/vault";
import pg from "pg";
import type { PostgresServer } from "../servers/postgres.ts";

export class World implements AsyncDisposable {
  readonly pool: pg.Pool;
  readonly store: PgSecretStore;
  readonly keyFile: string;
  readonly url: string;
  nowMs = Date.parse("2026-11-20T12:00:00.000Z");
  /** Set: the audit refuses with it. */
  auditFails: Error | undefined;
  /** Who may load and commit rows; by default everybody. */
  rowAuthority: RowAuthority = async (_tx, claims) => claims.map(() => undefined);
  readonly #directory: string;
  readonly #opened: AsyncDisposable[] = [];

  private constructor(url: string, directory: string) {
    this.url = url;
    this.pool = new pg.Pool({ connectionString: url, max: 8 });
    this.store = new PgSecretStore(this.pool);
    this.#directory = directory;
    this.keyFile = join(directory, "vault.key");
  }

  static async create(server: PostgresServer): Promise<World> {
    World.#count += 1;
    const url = await server.createDatabase(`vault_${World.#count}`);
    const world = new World(url, await mkdtemp(join(tmpdir(), "linkspan-vault-")));
    await world.store.migrate();
    await world.pool.query("CREATE TABLE audit (id bigserial PRIMARY KEY, entry jsonb NOT NULL)");
    return world;
  }

  static #count = 0;

  /** As a process would: its own key backend, its own caches. Unsealed. */
  async vault(keyFile: string = this.keyFile): Promise<EnvelopeVault> {
    const vault = await this.sealedVault(keyFile);
    const health = await vault.unseal();
    if (health.state !== "open") throw new Error(health.reason);
    return vault;
  }

  async sealedVault(keyFile: string = this.keyFile): Promise<EnvelopeVault> {
    const backend = await FileKeyBackend.open({ path: keyFile, production: false });
    this.#opened.push(backend);
    return new EnvelopeVault({
      store: this.store,
      backend,
      audit: (tx, entry) => this.#audit(tx, entry),
      now: () => this.now(),
      rowAuthority: (tx, claims) => this.rowAuthority(tx, claims),
    });
  }

  now(): Date {
    return new Date(this.nowMs);
  }

  async audit(): Promise<readonly VaultAuditEntry[]> {
    const { rows } = await this.pool.query<{ entry: VaultAuditEntry }>("SELECT entry FROM audit ORDER BY id");
    return rows.map(({ entry }) => entry);
  }

  /** Every row of every table, as text; what a thief of the database would read. */
  async dump(): Promise<string> {
    const { rows: tables } = await this.pool.query<{ name: string }>(
      `SELECT format('%I.%I', table_schema, table_name) AS name FROM information_schema.tables
       WHERE table_schema NOT IN ('pg_catalog', 'information_schema')`,
    );
    const texts: string[] = [];
    for (const { name } of tables) {
      const { rows } = await this.pool.query<{ row: string }>(`SELECT t::text AS row FROM ${name} t`);
      texts.push(name, ...rows.map(({ row }) => row));
    }
    return texts.join("\n");
  }

  async #audit(tx: Transaction, entry: VaultAuditEntry): Promise<void> {
    if (this.auditFails !== undefined) throw this.auditFails;
    await tx.query("INSERT INTO audit (entry) VALUES ($1)", [JSON.stringify(entry)]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const one of this.#opened) await one[Symbol.asyncDispose]();
    await this.pool.end();
    await rm(this.#directory, { recursive: true, force: true });
  }
}

export const REF: CredentialRef = {
  workspaceId: "ws1",
  identityId: "id-1",
  service: "irc",
  kind: "credential",
};

export function fields(password: string): Record<string, Uint8Array> {
  return { password: Buffer.from(password) };
}

export function textOf(bytes: Uint8Array | undefined): string | undefined {
  return bytes === undefined ? undefined : Buffer.from(bytes).toString("utf8");
}

export async function codeOf(attempt: Promise<unknown>): Promise<string> {
  try {
    await attempt;
    return "done";
  } catch (error) {
    if (error instanceof FabricError) return error.code;
    throw error;
  }
}

/**
 * Migrates the schema `vault` to its newest form. Repeating it changes nothing, also from several processes.
 */
import { inTransaction, type Pool, type Transaction } from "./transaction.ts";

interface Migration {
  readonly name: string;
  readonly sql: string;
}

const MIGRATIONS: readonly Migration[] = [
  {
    name: "0001-first",
    sql: `
-- A wrapped random key: whoever cannot unwrap it has the wrong key backend.
CREATE TABLE vault.unseal_check (
  only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),
  key_id   text  NOT NULL,
  wrapped  bytea NOT NULL
);

-- Data keys, wrapped. A shredded one keeps its row and number, and nothing else.
CREATE TABLE vault.workspace_keys (
  workspace_id text        NOT NULL,
  key_version  integer     NOT NULL CHECK (key_version > 0),
  key_id       text,
  wrapped      bytea,
  created_at   timestamptz NOT NULL DEFAULT now(),
  destroyed_at timestamptz,
  PRIMARY KEY (workspace_id, key_version),
  CHECK ((wrapped IS NULL) = (destroyed_at IS NOT NULL)),
  CHECK ((wrapped IS NULL) = (key_id IS NULL))
);
CREATE INDEX workspace_keys_by_key ON vault.workspace_keys (key_id) WHERE wrapped IS NOT NULL;

-- One head per credential. version: the last one given out, never given out again; 0: none yet.
CREATE TABLE vault.secrets (
  secret_id    uuid    PRIMARY KEY,
  workspace_id text    NOT NULL,
  identity_id  text    NOT NULL,
  service      text    NOT NULL,
  kind         text    NOT NULL,
  version      bigint  NOT NULL DEFAULT 0,
  min_version  bigint  NOT NULL DEFAULT 1,
  head_seal    bytea,
  dropped      boolean NOT NULL DEFAULT false,
  fence        bigint  NOT NULL DEFAULT 0,
  writer_fence bigint  NOT NULL DEFAULT 0,
  UNIQUE (workspace_id, identity_id, service, kind)
);

CREATE TABLE vault.secret_versions (
  secret_id   uuid        NOT NULL REFERENCES vault.secrets,
  version     bigint      NOT NULL CHECK (version > 0),
  key_version integer     NOT NULL,
  nonce       bytea       NOT NULL CHECK (length(nonce) = 12),
  ciphertext  bytea       NOT NULL CHECK (length(ciphertext) >= 16),
  commitment  bytea       NOT NULL CHECK (length(commitment) = 32),
  request_id  text,
  created_at  timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (secret_id, version)
);

CREATE TABLE vault.leases (
  lease_id       uuid        PRIMARY KEY,
  secret_id      uuid        NOT NULL REFERENCES vault.secrets,
  workspace_id   text        NOT NULL,
  identity_id    text        NOT NULL,
  daemon         text        NOT NULL,
  kid            text        NOT NULL,
  epoch          bigint      NOT NULL,
  scope          text        NOT NULL,
  ticket_hash    text        NOT NULL,
  request_id     text        NOT NULL UNIQUE,
  fence          bigint      NOT NULL,
  issued_at      timestamptz NOT NULL,
  expires_at     timestamptz NOT NULL,
  max_expires_at timestamptz NOT NULL,
  ended_at       timestamptz,
  ended_why      text CHECK (ended_why IN ('released', 'revoked', 'superseded')),
  CHECK ((ended_at IS NULL) = (ended_why IS NULL))
);
CREATE INDEX leases_by_secret ON vault.leases (secret_id) WHERE ended_at IS NULL;
CREATE INDEX leases_by_identity ON vault.leases (workspace_id, identity_id) WHERE ended_at IS NULL;
CREATE INDEX leases_by_daemon ON vault.leases (daemon) WHERE ended_at IS NULL;
CREATE INDEX leases_by_expiry ON vault.leases (expires_at);

-- What a person has just typed in: one per credential, taken once (by one request), gone after minutes.
CREATE TABLE vault.hand_overs (
  secret_id    uuid        PRIMARY KEY REFERENCES vault.secrets,
  hand_over_id uuid        NOT NULL,
  key_version  integer     NOT NULL,
  nonce        bytea       NOT NULL CHECK (length(nonce) = 12),
  ciphertext   bytea       NOT NULL CHECK (length(ciphertext) >= 16),
  commitment   bytea       NOT NULL CHECK (length(commitment) = 32),
  taken_by     text,
  expires_at   timestamptz NOT NULL
);
`,
  },
  {
    name: "0002-rows",
    sql: `
-- Durable rows of one identity, all of them together. version counts the commits; the ciphertext is the set's state.
CREATE TABLE vault.row_sets (
  set_id       uuid    PRIMARY KEY,
  workspace_id text    NOT NULL CHECK (octet_length(workspace_id) <= 64),
  identity_id  text    NOT NULL CHECK (octet_length(identity_id) <= 256),
  service      text    NOT NULL CHECK (octet_length(service) <= 32),
  version      bigint  NOT NULL CHECK (version > 0),
  key_version  integer NOT NULL,
  nonce        bytea   NOT NULL CHECK (length(nonce) = 12),
  ciphertext   bytea   NOT NULL CHECK (length(ciphertext) BETWEEN 16 AND 256),
  commitment   bytea   NOT NULL CHECK (length(commitment) = 32),
  request_id   text    NOT NULL CHECK (octet_length(request_id) <= 64),
  row_count    integer NOT NULL CHECK (row_count BETWEEN 0 AND 16384),
  bytes        bigint  NOT NULL CHECK (bytes BETWEEN 0 AND 16777216),
  UNIQUE (workspace_id, identity_id)
) WITH (fillfactor = 50);

-- name: a keyed hash; version: the commit that wrote it.
CREATE TABLE vault.rows (
  set_id      uuid    NOT NULL REFERENCES vault.row_sets ON DELETE CASCADE,
  name        bytea   NOT NULL CHECK (length(name) = 32),
  version     bigint  NOT NULL CHECK (version > 0),
  key_version integer NOT NULL,
  bytes       integer NOT NULL CHECK (bytes BETWEEN 1 AND 262656),
  nonce       bytea   NOT NULL CHECK (length(nonce) = 12),
  ciphertext  bytea   NOT NULL CHECK (length(ciphertext) BETWEEN 16 AND 263168),
  commitment  bytea   NOT NULL CHECK (length(commitment) = 32),
  PRIMARY KEY (set_id, name)
) WITH (fillfactor = 70);
-- Ciphertext does not get smaller.
ALTER TABLE vault.rows ALTER COLUMN ciphertext SET STORAGE EXTERNAL;
`,
  },
];

/** @throws FabricError `vault.unavailable`; a migration that fails leaves no changes */
export async function migrateVault(pool: Pool): Promise<void> {
  await inTransaction(pool, async (tx) => {
    await tx.query("SELECT pg_advisory_xact_lock(hashtext('linkspan.vault.migrations'))");
    await tx.query("CREATE SCHEMA IF NOT EXISTS vault");
    await tx.query(
      "CREATE TABLE IF NOT EXISTS vault.migrations (name text PRIMARY KEY, at timestamptz NOT NULL DEFAULT now())",
    );
    const done = await namesOf(tx);
    for (const { name, sql } of MIGRATIONS) {
      if (done.has(name)) continue;
      await tx.query(sql);
      await tx.query("INSERT INTO vault.migrations (name) VALUES ($1)", [name]);
    }
  });
}

async function namesOf(tx: Transaction): Promise<ReadonlySet<string>> {
  const { rows } = await tx.query<{ name: string }>("SELECT name FROM vault.migrations");
  return new Set(rows.map((row) => row.name));
}

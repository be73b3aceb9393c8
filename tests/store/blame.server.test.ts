/** Which errors of a real PostgreSQL are caused by the row itself, and which are waited out. */
import { randomBytes, randomUUID } from "node:crypto";
import { blameOf } from "@linkspan/envelopes";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  appendEvents,
  audit,
  Database,
  insertIdentity,
  lockReaders,
  migrate,
  quarantine,
  upsertContacts,
} from "@linkspan/store";
import { EnvelopeVault, FileKeyBackend, PgSecretStore } from "@linkspan/vault";
import pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { describeWithServers } from "../servers/available.ts";
import { type PostgresServer, startPostgres } from "../servers/postgres.ts";
import { newEvent } from "./events.ts";
import { insertRecorded, newIntent } from "./intents.ts";

describeWithServers(["postgres"], "blame of database errors", () => {
  let server: PostgresServer;
  let database: Database;
  let url: string;

  beforeAll(async () => {
    server = await startPostgres();
    url = await server.createDatabase("blame");
    database = new Database(url);
    await migrate(database);
    await insertIdentity(database.pool, identity("alice"));
  });
  afterAll(async () => {
    await database?.[Symbol.asyncDispose]();
    await server?.[Symbol.asyncDispose]();
  });

  const identity = (id: string) => ({
    id,
    workspace_id: "acme",
    user_id: "u",
    service: "irc",
    instance: "primary",
    settings: {},
  });
  const record = (over: object) => insertRecorded(database.pool, [newIntent(randomUUID(), over)]);
  const refused = (over: object) => ({
    code: "envelope.schema",
    detail: "d",
    routingKey: "r",
    issuer: undefined,
    workspaceId: undefined,
    messageId: undefined,
    kid: undefined,
    sig: undefined,
    body: Buffer.from("b"),
    ...over,
  });
  /** Incompressible, so that no index can hold it. */
  const long = () => randomBytes(6_000).toString("hex");

  const ROWS: Record<string, () => Promise<unknown>> = {
    "U+0000 in text": () => appendEvents(database.pool, [newEvent("a\0b", { account: "a\0b" })]),
    "U+0000 in the name of a contact": () =>
      upsertContacts(database.pool, "acme", "alice", [{ ref: "r", kind: "contact", name: "n\0" }]),
    "U+0000 in JSON": () => record({ payload: { text: "\u0000" } }),
    "a reference that no index holds": () =>
      lockReaders(database.pool, [{ workspaceId: "acme", ref: long(), service: "irc", account: "alice" }]),
    "a contact that no index holds": () =>
      upsertContacts(database.pool, "acme", "alice", [{ ref: long(), kind: "contact", name: "n" }]),
    "a kind that the schema forbids": () =>
      upsertContacts(database.pool, "acme", "alice", [{ ref: "r", kind: "rival" as "contact", name: "n" }]),
    "an identity that does not exist": () => record({ identityId: "nobody" }),
    "an id that is taken": () => insertIdentity(database.pool, identity("alice")),
    "a number out of range": () =>
      database.query("UPDATE intents SET part = $1 WHERE id = 'x'", [3_000_000_000]),
    "a date out of range": () => record({ expiresAt: "+294999-01-01T00:00:00Z" }),
  };
  test.each(Object.keys(ROWS))("a row is blamed for its own values: %s", async (what) => {
    await expect(ROWS[what]?.()).rejects.toMatchObject({ code: "store.rejected" });
  });

  test("what is said of a refused row does not quote it", async () => {
    const error: unknown = await database.query("SELECT $1::int", ["secret words"]).catch((e: unknown) => e);
    expect(error).toMatchObject({ code: "store.rejected" });
    expect(String(error)).not.toContain("secret");
  });

  async function configured(setting: string, value: string, check: () => Promise<void>): Promise<void> {
    await database.query(`ALTER SYSTEM SET ${setting} = ${value}`);
    await database.query("SELECT pg_reload_conf()");
    try {
      await expect.poll(() => shown(setting)).toBe(value);
      await check();
    } finally {
      const writable = new pg.Client({
        connectionString: url,
        options: "-c default_transaction_read_only=off",
      });
      await writable.connect();
      await writable.query(`ALTER SYSTEM RESET ${setting}`);
      await writable.query("SELECT pg_reload_conf()");
      await writable.end();
      await expect.poll(() => shown(setting)).not.toBe(value);
    }
  }
  async function shown(setting: string): Promise<unknown> {
    const { rows } = await database.query<{ value: string }>("SELECT current_setting($1) AS value", [
      setting,
    ]);
    return rows[0]?.value;
  }

  test("trouble is waited out: a database that became read-only", async () => {
    await configured("default_transaction_read_only", "on", async () => {
      await expect(appendEvents(database.pool, [newEvent("ro")])).rejects.toMatchObject({
        code: "store.unavailable",
        message: expect.stringContaining("25006") as string,
      });
    });
    expect((await appendEvents(database.pool, [newEvent("ro")])).size).toBe(1);
  });

  test("what a failed transaction did is not taken for stored, though nobody passed the error on", async () => {
    const swallowed = database.transaction(async (client) => {
      await appendEvents(client, [newEvent("swallowed")]);
      await client.query("SELECT 1 / 0").catch(() => undefined);
      return "stored";
    });
    await expect(swallowed).rejects.toMatchObject({ code: "store.unavailable" });
    expect((await appendEvents(database.pool, [newEvent("swallowed")])).size).toBe(1);
  });

  test("trouble is waited out: no month for the row, a table that is missing, a full disk, an unknown error", async () => {
    await using client = await inTransaction();
    await client.query("SAVEPOINT before");
    const month = new Date().toISOString().slice(0, 7).replace("-", "_");
    await client.query(`DROP TABLE events_${month}`);
    await expect(appendEvents(client, [newEvent("nowhere")])).rejects.toMatchObject({
      code: "store.unavailable",
      cause: { code: "23514" },
    });
    await client.query("ROLLBACK TO before");
    await client.query("ALTER TABLE conversations RENAME TO moved");
    const seen = [{ workspaceId: "acme", ref: "r", service: "irc", account: "alice" }];
    const missing: unknown = await lockReaders(client, seen).catch((error: unknown) => error);
    expect(missing).toMatchObject({ code: "internal", cause: { code: "42P01" } });
    expect(blameOf(missing)).toBe("surroundings");
    for (const state of [
      "53100",
      "53200",
      "57P01",
      "40001",
      "40P01",
      "55000",
      "58030",
      "XX000",
      "P0001",
      "ZZZZZ",
    ]) {
      await client.query("ROLLBACK TO before");
      await client.query(
        `CREATE FUNCTION pg_temp.broken() RETURNS trigger LANGUAGE plpgsql AS
           $$ BEGIN RAISE EXCEPTION 'as if' USING ERRCODE = '${state}'; END $$;
         CREATE TRIGGER broken BEFORE INSERT ON audit_entries FOR EACH ROW EXECUTE FUNCTION pg_temp.broken()`,
      );
      const entry = { workspaceId: "acme", actor: "core", action: "a.b", subject: "s" };
      await expect(audit(client, entry)).rejects.toMatchObject({
        code: "store.unavailable",
        cause: { code: state },
      });
    }
  });

  test("trouble is waited out: a counter that a restore lost", async () => {
    await quarantine(database.pool, refused({ body: Buffer.from("one") }));
    await database.query("SELECT setval(pg_get_serial_sequence('quarantine', 'id'), 1, false)");
    await expect(quarantine(database.pool, refused({ body: Buffer.from("two") }))).rejects.toMatchObject({
      code: "store.unavailable",
    });
    await database.query(
      "SELECT setval(pg_get_serial_sequence('quarantine', 'id'), (SELECT max(id) FROM quarantine))",
    );
  });

  test("trouble is waited out: no free connection, and a session that was ended", async () => {
    await using one = new Database(url, { maxConnections: 1, limits: { ...QUICK, connectMs: 200 } });
    await one
      .transaction(async (client) => {
        await expect(one.query("SELECT 1")).rejects.toMatchObject({ code: "store.unavailable" });
        const { rows } = await client.query<{ pid: number }>("SELECT pg_backend_pid() AS pid");
        await database.query("SELECT pg_terminate_backend($1)", [rows[0]?.pid]);
        await expect(appendEvents(client, [newEvent("x")])).rejects.toMatchObject({
          code: "store.unavailable",
        });
      })
      .catch((error: unknown) => expect(error).toMatchObject({ code: "store.unavailable" }));
    expect((await one.query("SELECT 1")).rows).toHaveLength(1);
  });

  test("a fault of our own code in a transaction stays what it is", async () => {
    const fault = new TypeError("a bug");
    await expect(database.transaction(() => Promise.reject(fault))).rejects.toBe(fault);
  });

  test("the vault blames a row for its values too, and nothing else", async () => {
    const directory = await mkdtemp(join(tmpdir(), "linkspan-blame-"));
    const backend = await FileKeyBackend.open({ path: join(directory, "vault.key"), production: false });
    await rm(directory, { recursive: true });
    const store = new PgSecretStore(database.pool);
    await store.migrate();
    const vault = new EnvelopeVault({ store, backend, audit: async () => undefined });
    await vault.unseal();
    const ref = { workspaceId: "acme", identityId: "a\0b", service: "irc", kind: "credential" };
    const fields = () => ({ password: new TextEncoder().encode("p") });
    await expect(vault.put(ref, fields())).rejects.toMatchObject({ code: "store.rejected" });
    await configured("default_transaction_read_only", "on", async () => {
      await expect(vault.put({ ...ref, identityId: "a" }, fields())).rejects.toMatchObject({
        code: "vault.unavailable",
      });
    });
    await vault.put({ ...ref, identityId: "a" }, fields());
  });

  async function inTransaction() {
    const client = await database.pool.connect();
    await client.query("BEGIN");
    return Object.assign(client, {
      async [Symbol.asyncDispose]() {
        await client.query("ROLLBACK");
        client.release();
      },
    });
  }
});

const QUICK = {
  connectMs: 2_000,
  statementMs: 2_000,
  lockMs: 1_000,
  idleInTransactionMs: 5_000,
  answerMs: 3_000,
};

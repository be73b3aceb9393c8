import { copyFile } from "node:fs/promises";
import { EnvelopeVault, FileKeyBackend, PgSecretStore } from "@linkspan/vault";
import pg from "pg";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { describeWithServers } from "../servers/available.ts";
import { type PostgresServer, startPostgres } from "../servers/postgres.ts";
import { checkOut, HOLDER } from "./lessee.ts";
import { codeOf, fields, REF, textOf, World } from "./world.ts";

describeWithServers(["postgres"], "the vault on PostgreSQL", () => {
  let server: PostgresServer;
  let world: World;
  let vault: EnvelopeVault;

  beforeAll(async () => {
    server = await startPostgres();
  });
  afterAll(() => server[Symbol.asyncDispose]());
  beforeEach(async () => {
    world = await World.create(server);
    vault = await world.vault();
  });
  afterEach(() => world[Symbol.asyncDispose]());

  async function passwordOf(of: EnvelopeVault = vault, ref = REF): Promise<string | undefined> {
    const { given } = await checkOut(of, { identityId: ref.identityId, workspaceId: ref.workspaceId });
    return given.password;
  }

  test("what is put is what is checked out, also by another process", async () => {
    expect(await vault.has(REF)).toBe(false);
    expect(await vault.put(REF, fields("one"))).toBe(1);
    expect(await vault.put(REF, fields("two"))).toBe(2);
    expect(await vault.has(REF)).toBe(true);
    expect(await passwordOf()).toBe("two");
    expect(await passwordOf(await world.vault())).toBe("two");
  });

  test("a derived key is the same for all processes, another for each purpose and workspace, and goes by shredding", async () => {
    const keyOf = async (workspace: string, purpose: string, version?: number) => {
      const derived = await (await world.vault()).deriveKey(workspace, purpose, version);
      return derived && { version: derived.keyVersion, key: Buffer.from(derived.key).toString("hex") };
    };
    const first = await keyOf("ws1", "media");
    expect(first?.version).toBe(1);
    expect(await keyOf("ws1", "media")).toEqual(first);
    const others = [await keyOf("ws1", "links"), await keyOf("ws2", "media")];
    expect(new Set([first, ...others].map((one) => one?.key)).size).toBe(3);
    await vault.rotateWorkspaceKey("ws1");
    const second = await keyOf("ws1", "media");
    expect(second?.version).toBe(2);
    expect(second?.key).not.toBe(first?.key);
    expect(await keyOf("ws1", "media", 1)).toEqual(first);
    expect(await keyOf("ws1", "media", 3)).toBeUndefined();
    await vault.shredWorkspace("ws1");
    expect(await keyOf("ws1", "media", 1)).toBeUndefined();
    expect(await keyOf("ws1", "media", 2)).toBeUndefined();
    expect((await keyOf("ws1", "media"))?.version).toBe(3);
  });

  test("references that read alike are different credentials", async () => {
    await vault.put({ ...REF, workspaceId: "ws1", identityId: "2id" }, fields("a"));
    await vault.put({ ...REF, workspaceId: "ws12", identityId: "id" }, fields("b"));
    expect(await passwordOf(vault, { ...REF, workspaceId: "ws1", identityId: "2id" })).toBe("a");
    expect(await passwordOf(vault, { ...REF, workspaceId: "ws12", identityId: "id" })).toBe("b");
    expect(await vault.has({ ...REF, kind: "other" })).toBe(false);
  });

  test("compare-and-swap: of many writers that expect one version, one wins", async () => {
    await vault.put(REF, fields("zero"));
    const codes = await Promise.all(
      Array.from({ length: 8 }, (_, i) => codeOf(vault.put(REF, fields(`w${i}`), { expectVersion: 1 }))),
    );
    expect(codes.filter((code) => code === "done")).toHaveLength(1);
    expect(codes.filter((code) => code === "vault.conflict")).toHaveLength(7);
    expect(await codeOf(vault.put(REF, fields("x"), { expectVersion: 0 }))).toBe("vault.conflict");
  });

  test("the first writers of a workspace and of a credential agree on one key and one head", async () => {
    const versions = await Promise.all(Array.from({ length: 8 }, () => vault.put(REF, fields("same"))));
    expect(versions.sort((a, b) => a - b)).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    const { rows } = await world.pool.query("SELECT * FROM vault.workspace_keys");
    expect(rows).toHaveLength(1);
    expect(await passwordOf()).toBe("same");
  });

  test("a version that was given out is never given out again, also after a drop", async () => {
    await vault.put(REF, fields("one"));
    await vault.drop(REF);
    expect(await vault.has(REF)).toBe(false);
    expect((await checkOut(vault)).version).toBe(0);
    expect(await codeOf(vault.put(REF, fields("two"), { expectVersion: 1 }))).toBe("vault.conflict");
    expect(await vault.put(REF, fields("two"), { expectVersion: 0 })).toBe(2);
    expect(await passwordOf()).toBe("two");
  });

  test("only the newest eight versions stay", async () => {
    for (let i = 1; i <= 12; i += 1) await vault.put(REF, fields(`p${i}`));
    const { rows } = await world.pool.query("SELECT version FROM vault.secret_versions ORDER BY version");
    expect(rows.map(({ version }: { version: string }) => Number(version))).toEqual([
      5, 6, 7, 8, 9, 10, 11, 12,
    ]);
    expect(await passwordOf()).toBe("p12");
  });

  const swapped = "UPDATE vault.secret_versions a SET nonce = b.nonce, ciphertext = b.ciphertext";
  const tampered: [string, string][] = [
    [
      "another identity's ciphertext in its row",
      `${swapped}, commitment = b.commitment FROM vault.secret_versions b WHERE a.secret_id <> b.secret_id`,
    ],
    [
      "an older version's ciphertext as the newest",
      `${swapped}, commitment = b.commitment FROM vault.secret_versions b
       WHERE a.secret_id = b.secret_id AND a.version = 2 AND b.version = 1`,
    ],
    ["its head set back to an older version", "UPDATE vault.secrets SET version = 1 WHERE version = 2"],
    ["its minimum lowered", "UPDATE vault.secrets SET min_version = 0"],
    ["its head's seal removed", "UPDATE vault.secrets SET head_seal = NULL"],
    [
      "a tag cut to twelve bytes",
      "UPDATE vault.secret_versions SET ciphertext = substring(ciphertext FROM 1 FOR length(ciphertext) - 4)",
    ],
    ["another commitment", "UPDATE vault.secret_versions SET commitment = sha256(commitment)"],
    [
      "its row moved to another workspace",
      "UPDATE vault.secrets SET workspace_id = 'ws3' WHERE workspace_id = 'ws1'",
    ],
    ["its newest version removed", "DELETE FROM vault.secret_versions WHERE version = 2"],
    [
      "its key shredded behind its back",
      "UPDATE vault.workspace_keys SET wrapped = NULL, key_id = NULL, destroyed_at = now()",
    ],
    [
      "another workspace's key as its own",
      "UPDATE vault.workspace_keys a SET wrapped = b.wrapped FROM vault.workspace_keys b WHERE a.workspace_id <> b.workspace_id",
    ],
  ];
  test.each(tampered)("whoever writes to the tables cannot pass off %s", async (_what, sql) => {
    for (const identityId of ["id-1", "id-2"]) {
      await vault.put({ ...REF, identityId }, fields(`one of ${identityId}`));
      await vault.put({ ...REF, identityId }, fields(`two of ${identityId}`));
    }
    await vault.put({ ...REF, workspaceId: "ws3", identityId: "id-9" }, fields("elsewhere"));
    await world.pool.query(sql);
    const { rows } = await world.pool.query<{ workspace_id: string }>(
      "SELECT workspace_id FROM vault.secrets WHERE identity_id = 'id-1' ORDER BY workspace_id LIMIT 1",
    );
    const workspaceId = rows[0]?.workspace_id ?? "";
    const before = (await world.audit()).length;
    expect(await codeOf(checkOut(await world.vault(), { workspaceId }))).toBe("vault.unavailable");
    expect(await codeOf(checkOut(vault, { workspaceId }))).toBe("vault.unavailable");
    const { rows: leases } = await world.pool.query("SELECT * FROM vault.leases");
    expect(leases).toEqual([]);
    expect(await world.audit()).toHaveLength(before);
  });

  test("a shredded workspace stays unreadable when its rows are restored, and others do not notice", async () => {
    await vault.put(REF, fields("gone"));
    await vault.put({ ...REF, workspaceId: "ws2" }, fields("stays"));
    await vault.handOver(REF, fields("gone too"));
    const { leaseId } = await checkOut(vault);
    const saved = await world.pool.query("SELECT * FROM vault.secret_versions");
    const heads = await world.pool.query("SELECT * FROM vault.secrets WHERE workspace_id = 'ws1'");

    await vault.shredWorkspace("ws1");
    expect(await vault.has(REF)).toBe(false);
    expect(await codeOf(vault.leases.renew(leaseId, HOLDER))).toBe("vault.revoked");
    expect(await vault.takeHandOver(REF)).toBeUndefined();
    expect(await passwordOf(vault, { ...REF, workspaceId: "ws2" })).toBe("stays");

    const [head] = heads.rows as {
      secret_id: string;
      version: string;
      min_version: string;
      head_seal: Buffer;
    }[];
    await world.pool.query(
      "UPDATE vault.secrets SET dropped = false, version = $2, min_version = $3, head_seal = $4 WHERE secret_id = $1",
      [head?.secret_id, head?.version, head?.min_version, head?.head_seal],
    );
    for (const row of saved.rows as Record<string, unknown>[]) {
      if (row.secret_id !== head?.secret_id) continue;
      await world.pool.query(
        "INSERT INTO vault.secret_versions (secret_id, version, key_version, nonce, ciphertext, commitment) VALUES ($1,$2,$3,$4,$5,$6)",
        [row.secret_id, row.version, row.key_version, row.nonce, row.ciphertext, row.commitment],
      );
    }
    expect(await codeOf(checkOut(vault))).toBe("vault.unavailable");

    await vault.drop(REF);
    await vault.put(REF, fields("anew"));
    expect(await passwordOf()).toBe("anew");
    const { rows } = await world.pool.query(
      "SELECT key_version FROM vault.workspace_keys WHERE workspace_id = 'ws1' AND wrapped IS NOT NULL",
    );
    expect(rows).toEqual([{ key_version: 2 }]);
  });

  test("writing and shredding at once neither deadlocks nor leaves what nobody can read", async () => {
    const work = Array.from({ length: 24 }, (_, i) =>
      i % 6 === 5
        ? vault.shredWorkspace("ws1")
        : vault.put({ ...REF, identityId: `id-${i % 3}` }, fields("x")),
    );
    expect(await Promise.all(work.map((one) => codeOf(one)))).toEqual(work.map(() => "done"));
    for (const identityId of ["id-0", "id-1", "id-2"]) {
      const { version, given } = await checkOut(vault, { identityId });
      expect(given.password).toBe(version === 0 ? undefined : "x");
    }
  });

  test("a credential handed over is taken once, by one", async () => {
    await vault.handOver(REF, fields("typed in"));
    const taken = await Promise.all([1, 2, 3, 4].map(() => vault.takeHandOver(REF)));
    const got = taken.filter((secret) => secret !== undefined);
    expect(got.map((secret) => textOf(secret.get("password")))).toEqual(["typed in"]);
    expect(await vault.takeHandOver(REF)).toBeUndefined();
  });

  test("a credential handed over is gone after 300 s, whatever was asked for", async () => {
    await vault.handOver(REF, fields("late"), 3_600_000);
    world.nowMs += 299_999;
    await vault.sweep();
    expect((await world.pool.query("SELECT * FROM vault.hand_overs")).rows).toHaveLength(1);
    world.nowMs += 1;
    expect(await vault.takeHandOver(REF)).toBeUndefined();
    await vault.handOver(REF, fields("late"));
    world.nowMs += 300_000;
    await vault.sweep();
    expect((await world.pool.query("SELECT * FROM vault.hand_overs")).rows).toEqual([]);
  });

  test("what is handed over again replaces what waited, and can be kept", async () => {
    expect(await vault.keepHandOver(REF)).toBeUndefined();
    await vault.handOver(REF, fields("typo"));
    await vault.handOver(REF, fields("right"));
    expect(await vault.keepHandOver(REF)).toBe(1);
    expect(await passwordOf()).toBe("right");
    expect(await vault.takeHandOver(REF)).toBeUndefined();
  });

  test("a hand-over cannot be passed off as the credential, nor the other way round", async () => {
    await vault.put(REF, fields("stored"));
    await vault.handOver(REF, fields("typed in"));
    await world.pool.query(
      `UPDATE vault.hand_overs h SET nonce = v.nonce, ciphertext = v.ciphertext, commitment = v.commitment
       FROM vault.secret_versions v WHERE v.secret_id = h.secret_id`,
    );
    expect(await codeOf(vault.takeHandOver(REF))).toBe("vault.unavailable");
  });

  test("sealed, it answers health and unseal and nothing else", async () => {
    await vault.put(REF, fields("one"));
    const sealed = await world.sealedVault();
    const asks = [
      sealed.put(REF, fields("two")),
      sealed.has(REF),
      sealed.drop(REF),
      sealed.shredWorkspace("ws1"),
      sealed.handOver(REF, fields("x")),
      sealed.takeHandOver(REF),
      sealed.keepHandOver(REF),
      sealed.revoke({ workspaceId: "ws1" }),
      sealed.rotateWorkspaceKey("ws1"),
      sealed.rewrap(),
      sealed.sweep(),
      checkOut(sealed),
      sealed.leases.renew("x", HOLDER),
      sealed.leases.release("x", HOLDER, 0),
      sealed.leases.identityOf("x", HOLDER),
      sealed.leases.writeBack({ leaseId: "x", holder: HOLDER, version: 0, requestId: "r" }, async () => ({})),
    ];
    expect(new Set(await Promise.all(asks.map((ask) => codeOf(ask))))).toEqual(new Set(["vault.sealed"]));
    expect((await sealed.health()).state).toBe("sealed");
    expect((await sealed.unseal()).state).toBe("open");
    expect(await passwordOf(sealed)).toBe("one");
    sealed.seal("an operator said so");
    expect(await codeOf(sealed.has(REF))).toBe("vault.sealed");
    expect(await sealed.health()).toMatchObject({ state: "sealed", reason: "an operator said so" });
  });

  test("with another key file it stays sealed and writes nothing", async () => {
    await vault.put(REF, fields("one"));
    const other = await world.sealedVault(`${world.keyFile}.other`);
    expect(await other.unseal()).toMatchObject({ state: "sealed" });
    expect(await codeOf(other.put(REF, fields("two")))).toBe("vault.sealed");
    expect(await passwordOf()).toBe("one");
  });

  test("with its database away it stays sealed, and says unavailable once open", async () => {
    const pool = new pg.Pool({
      connectionString: world.url.replace(/:\d+\//, ":1/"),
      connectionTimeoutMillis: 1_000,
    });
    const backend = await FileKeyBackend.open({ path: world.keyFile, production: false });
    const away = new EnvelopeVault({ store: new PgSecretStore(pool), backend, audit: async () => undefined });
    expect(await away.unseal()).toMatchObject({ state: "sealed" });
    await pool.end();

    await world.pool.query("ALTER TABLE vault.secrets RENAME TO moved");
    expect(await codeOf(vault.has(REF))).toBe("vault.unavailable");
  });

  test("rotating and rewrapping change every key and no credential", async () => {
    for (const workspaceId of ["ws1", "ws2", "ws3"])
      await vault.put({ ...REF, workspaceId }, fields(workspaceId));
    await vault.rotateWorkspaceKey("ws1");
    await vault.put(REF, fields("second"));

    await copyFile(world.keyFile, `${world.keyFile}.before`);
    await FileKeyBackend.rotate({ path: world.keyFile, production: false });
    const next = await world.vault();
    const progress: number[] = [];
    expect(await next.rewrap({ progress: (moved) => progress.push(moved) })).toBe(4);
    expect(progress).toEqual([4]);
    expect(await next.rewrap()).toBe(0);
    expect(await passwordOf(next)).toBe("second");
    expect(await passwordOf(next, { ...REF, workspaceId: "ws3" })).toBe("ws3");

    // The old key alone opens nothing any more.
    const old = await world.sealedVault(`${world.keyFile}.before`);
    expect(await old.unseal()).toMatchObject({ state: "sealed" });
  });

  test("a rewrap that is interrupted goes on where it stopped", async () => {
    const names = Array.from({ length: 60 }, (_, i) => `w${i}`);
    for (const workspaceId of names) await vault.put({ ...REF, workspaceId }, fields(workspaceId));
    await FileKeyBackend.rotate({ path: world.keyFile, production: false });
    const next = await world.vault();
    const stop = new AbortController();
    expect(await next.rewrap({ signal: stop.signal, progress: () => stop.abort() })).toBe(50);
    expect(await next.rewrap()).toBe(10);
    expect(await passwordOf(next, { ...REF, workspaceId: "w59" })).toBe("w59");
  });

  test("migrating again, from many processes at once, changes nothing", async () => {
    await vault.put(REF, fields("one"));
    await Promise.all([1, 2, 3, 4].map(() => world.store.migrate()));
    expect(await passwordOf()).toBe("one");
  });

  test("what cannot be audited does not happen", async () => {
    await vault.put(REF, fields("one"));
    await vault.handOver(REF, fields("typed in"));
    const before = await world.dump();
    world.auditFails = new Error("disk full");
    const attempts = [
      vault.put(REF, fields("two")),
      vault.drop(REF),
      vault.shredWorkspace("ws1"),
      vault.handOver(REF, fields("x")),
      vault.takeHandOver(REF),
      vault.keepHandOver(REF),
      vault.rotateWorkspaceKey("ws1"),
    ];
    expect(new Set(await Promise.all(attempts.map((one) => codeOf(one))))).toEqual(
      new Set(["vault.unavailable"]),
    );
    expect(await world.dump()).toBe(before);
    world.auditFails = undefined;
    expect(await passwordOf()).toBe("one");
  });

  test("each deed leaves its entry", async () => {
    await vault.put(REF, fields("one"));
    await vault.handOver(REF, fields("two"));
    (await vault.takeHandOver(REF))?.wipe();
    await vault.rotateWorkspaceKey("ws1");
    await checkOut(vault);
    await vault.revoke({ workspaceId: "ws1", identityId: "id-1" });
    await vault.drop(REF);
    await vault.shredWorkspace("ws1");
    const entries = await world.audit();
    expect(entries.map(({ action, actor }) => `${actor} ${action}`)).toEqual([
      "core vault.put",
      "core vault.hand_over",
      "core vault.hand_over_taken",
      "core vault.rotate",
      `${HOLDER.daemon} vault.checkout`,
      "core vault.revoke",
      "core vault.drop",
      "core vault.shred",
    ]);
    expect(new Set(entries.map(({ workspaceId }) => workspaceId))).toEqual(new Set(["ws1"]));
  });
});

/** Durable rows in the vault: what is kept, what is refused, and what a thief or a forger of the database gets. */
import { FabricError, LIMITS, type RowChanges } from "@linkspan/envelopes";
import type { AuthorityClaim, EnvelopeVault, RowCommit } from "@linkspan/vault";
import fc from "fast-check";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { describeWithServers } from "../servers/available.ts";
import { type PostgresServer, startPostgres } from "../servers/postgres.ts";
import { until } from "../servers/until.ts";
import { reveals } from "./canary.ts";
import { type Daemon, VaultOnBus } from "./vault-on-bus.ts";
import { codeOf, REF, World } from "./world.ts";

const MATRIX = "daemon:matrix:primary";
const SECRET = "ratchet-7c1e-secret";
const NAME = "session/megolm-room-name";

const changes = (rows: Readonly<Record<string, string | undefined>>): RowChanges =>
  new Map(
    Object.entries(rows).map(([name, value]) => [
      name,
      value === undefined ? undefined : new Uint8Array(Buffer.from(value)),
    ]),
  );

describeWithServers(["postgres"], "durable rows", () => {
  let server: PostgresServer;
  let world: World;
  let vault: EnvelopeVault;
  let served: VaultOnBus;
  let daemon: Daemon;

  beforeAll(async () => {
    server = await startPostgres();
  });
  afterAll(() => server?.[Symbol.asyncDispose]());
  beforeEach(async () => {
    world = await World.create(server);
    vault = await world.vault();
    served = await VaultOnBus.serve(world, vault);
    daemon = await served.enrol(MATRIX);
  });
  afterEach(() => world?.[Symbol.asyncDispose]());

  const claim = (identityId = "id-1"): AuthorityClaim => ({
    daemon: MATRIX,
    kid: daemon.signer.kid,
    epoch: 1,
    workspaceId: "ws1",
    identityId,
  });
  let requests = 0;
  const direct = async (version: number, rows: RowChanges, identityId?: string) => {
    requests += 1;
    const commit: RowCommit = { claim: claim(identityId), version, requestId: `r${requests}`, changes: rows };
    return (await vault.rows.commitAll([commit])).get(commit);
  };
  const codeIn = (verdict: unknown) => (verdict instanceof FabricError ? verdict.code : verdict);

  test("what was committed is loaded, by version, and a commit on another version is refused", async () => {
    expect(await daemon.loadRows()).toEqual({ version: 0, rows: {}, pages: 1 });
    expect(await daemon.commitRows(0, changes({ a: "1", b: "2" }))).toEqual({ version: 1 });
    expect(await daemon.commitRows(1, changes({ a: undefined, c: "3" }))).toEqual({ version: 2 });
    expect(await daemon.loadRows()).toEqual({ version: 2, rows: { b: "2", c: "3" }, pages: 1 });
    for (const version of [0, 1, 3]) {
      expect(await codeOf(daemon.commitRows(version, changes({ b: "other" })))).toBe("vault.conflict");
    }
    expect(await daemon.loadRows()).toMatchObject({ version: 2, rows: { b: "2", c: "3" } });
    expect(await daemon.loadRows("id-2")).toMatchObject({ version: 0, rows: {} });
  });

  test("the same request is answered alike and done once", async () => {
    const request = await daemon.commitRequest(0, changes({ a: "1" }));
    expect(await daemon.ask(request)).toEqual({ version: 1 });
    expect(await daemon.ask(request)).toEqual({ version: 1 });
    expect(await daemon.loadRows()).toMatchObject({ version: 1, rows: { a: "1" } });
  });

  test("any sequence of commits, of several identities at once, leaves what a map would hold", async () => {
    const step = fc.record({
      identity: fc.constantFrom("x", "y"),
      stale: fc.boolean(),
      rows: fc.dictionary(
        fc.constantFrom("a", "b", "c", "ü", "\u0000"),
        fc.option(fc.string({ maxLength: 20 }), { nil: undefined }),
      ),
    });
    let runs = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { minLength: 1, maxLength: 12 }),
        fc.boolean(),
        async (steps, together) => {
          runs += 1;
          const run = runs;
          const models = new Map<string, { version: number; rows: Map<string, string> }>();
          const commits: RowCommit[] = [];
          const expected: unknown[] = [];
          for (const { identity, stale, rows } of steps) {
            const model = models.get(identity) ?? { version: 0, rows: new Map<string, string>() };
            models.set(identity, model);
            requests += 1;
            const version = stale ? model.version + 1 : model.version;
            const wanted = claim(`${identity}-${run}`);
            commits.push({ claim: wanted, version, requestId: `r${requests}`, changes: changes(rows) });
            expected.push(stale ? "vault.conflict" : version + 1);
            if (stale) continue;
            model.version += 1;
            for (const [name, value] of Object.entries(rows)) {
              if (value === undefined) model.rows.delete(name);
              else model.rows.set(name, value);
            }
          }
          const verdicts: unknown[] = [];
          for (const group of together ? [commits] : commits.map((commit) => [commit])) {
            const answers = await vault.rows.commitAll(group);
            verdicts.push(...group.map((commit) => codeIn(answers.get(commit))));
          }
          expect(verdicts).toEqual(expected);
          for (const [identity, { version, rows }] of models) {
            const loaded = await daemon.loadRows(`${identity}-${run}`);
            expect(loaded).toMatchObject({ version, rows: Object.fromEntries(rows) });
          }
        },
      ),
      { numRuns: 25 },
    );
  });

  test("many rows come in pages that fit together", async () => {
    const big = new Uint8Array(200_000).fill(65);
    expect(await daemon.commitRows(0, new Map([["big 1", big]]))).toEqual({ version: 1 });
    expect(await daemon.commitRows(1, new Map([["big 2", big]]))).toEqual({ version: 2 });
    const small = new Map(Array.from({ length: 1_000 }, (_, at) => [`small ${at}`, Buffer.from(`${at}`)]));
    expect(await daemon.commitRows(2, small)).toEqual({ version: 3 });
    const loaded = await daemon.loadRows();
    expect(Object.keys(loaded.rows)).toHaveLength(1_002);
    expect(loaded.rows["small 999"]).toBe("999");
    expect(loaded.rows["big 2"]).toHaveLength(200_000);
    expect(loaded.pages).toBeGreaterThan(1);
    const first = await daemon.ask(daemon.request("load_rows", { identity_id: "id-1" }));
    await daemon.commitRows(3, changes({ other: "1" }));
    const next = { identity_id: "id-1", version: first.version as number, cursor: first.cursor as string };
    expect(await codeOf(daemon.ask(daemon.request("load_rows", next)))).toBe("vault.conflict");
  });

  test("sizes over the bounds are refused before anything is stored, and deleting makes room", async () => {
    const value = new Uint8Array(LIMITS.rowBytes).fill(1);
    const values = LIMITS.rowsBytes / LIMITS.rowBytes;
    const names = Array.from({ length: values }, (_, at) => `v${String(at).padStart(3, "0")}`);
    const all = new Map(names.map((name) => [name, value] as const));
    expect(codeIn(await direct(0, all))).toBe("vault.full");
    expect(await daemon.loadRows()).toMatchObject({ version: 0, rows: {} });
    expect(await direct(0, new Map([...all].slice(1)))).toBe(1);
    expect(codeIn(await direct(1, new Map([["v000", value]])))).toBe("vault.full");
    expect(
      await direct(
        1,
        new Map([
          ["v000", value],
          ["v001", undefined],
        ]),
      ),
    ).toBe(2);
    const { rows } = await world.pool.query<{ row_count: number }>("SELECT row_count FROM vault.row_sets");
    expect(rows).toEqual([{ row_count: values - 1 }]);

    const many = Array.from({ length: LIMITS.rows }, (_, at) => [`${at}`, new Uint8Array(1)] as const);
    expect(await direct(0, new Map(many), "id-2")).toBe(1);
    expect(codeIn(await direct(1, changes({ "one more": "1" }), "id-2"))).toBe("vault.full");
    expect(await direct(1, changes({ "one more": "1", "0": undefined }), "id-2")).toBe(2);
  });

  test("what was not sealed for this commit, or holds no rows, is refused", async () => {
    const request = await daemon.commitRequest(0, changes({ a: "1" }));
    const other = JSON.parse(Buffer.from(request.body).toString()) as { payload: { sealed: object } };
    const { sealed } = other.payload;
    const moved = daemon.request("commit_rows", { identity_id: "id-2", version: 0, sealed });
    expect(await codeOf(daemon.ask(moved))).toBe("vault.unavailable");
    const later = daemon.request("commit_rows", { identity_id: "id-1", version: 1, sealed });
    expect(await codeOf(daemon.ask(later))).toBe("vault.unavailable");
    expect(await daemon.loadRows()).toMatchObject({ version: 0 });
  });

  test("a row that was altered, moved, set back, added or removed behind the vault's back is refused", async () => {
    const set = "(SELECT set_id FROM vault.row_sets WHERE identity_id = 'id-1')";
    const tampering: Readonly<Record<string, string>> = {
      altered: `UPDATE vault.rows SET ciphertext = set_byte(ciphertext, 3, get_byte(ciphertext, 3) # 1) WHERE set_id = ${set}`,
      "set back": `UPDATE vault.rows r SET (version, key_version, bytes, nonce, ciphertext, commitment)
        = (SELECT version, key_version, bytes, nonce, ciphertext, commitment FROM old o WHERE o.name = r.name)
        WHERE r.name IN (SELECT name FROM old WHERE version = 1) AND r.set_id = ${set}`,
      removed: `DELETE FROM vault.rows WHERE ctid = (SELECT min(ctid) FROM vault.rows WHERE set_id = ${set})`,
      renamed: `UPDATE vault.rows SET name = sha256('other') WHERE ctid = (SELECT min(ctid) FROM vault.rows WHERE set_id = ${set})`,
      "of another account": `INSERT INTO vault.rows SELECT ${set}, name, version, key_version, bytes, nonce, ciphertext, commitment
        FROM vault.rows WHERE set_id <> ${set}`,
      "version of all": `UPDATE vault.row_sets SET version = version + 1 WHERE identity_id = 'id-1'`,
      "state of another account": `UPDATE vault.row_sets s SET (nonce, ciphertext, commitment) = (SELECT nonce, ciphertext, commitment
        FROM vault.row_sets WHERE identity_id = 'id-2') WHERE identity_id = 'id-1'`,
      "state set back": `UPDATE vault.row_sets SET (version, nonce, ciphertext, commitment) = (SELECT version, nonce, ciphertext, commitment FROM old_set)
        WHERE identity_id = 'id-1'`,
    };
    await direct(0, changes({ a: "1", b: "2" }));
    await direct(0, changes({ z: "26" }), "id-2");
    await world.pool.query(`CREATE TABLE old AS SELECT * FROM vault.rows WHERE set_id = ${set}`);
    await world.pool.query("CREATE TABLE old_set AS SELECT * FROM vault.row_sets WHERE identity_id = 'id-1'");
    await direct(1, changes({ a: "new" }));
    await world.pool.query("CREATE TABLE sound AS SELECT * FROM vault.rows");
    await world.pool.query("CREATE TABLE sound_set AS SELECT * FROM vault.row_sets");
    for (const [how, sql] of Object.entries(tampering)) {
      const { rowCount } = await world.pool.query(sql);
      expect(rowCount, how).toBeGreaterThan(0);
      expect(await codeOf(daemon.loadRows()), how).toBe("vault.unavailable");
      await world.pool.query("DELETE FROM vault.row_sets");
      await world.pool.query("INSERT INTO vault.row_sets SELECT * FROM sound_set");
      await world.pool.query("INSERT INTO vault.rows SELECT * FROM sound");
      expect(await daemon.loadRows(), how).toMatchObject({ version: 2, rows: { a: "new", b: "2" } });
    }
    await world.pool.query(tampering["version of all"] ?? "");
    expect(codeIn(await direct(3, changes({ a: "x" })))).toBe("vault.unavailable");
    expect(await direct(1, changes({ z: "27" }), "id-2")).toBe(2);
  });

  test("who is refused changes nothing and reads nothing, and others in the same group are not affected", async () => {
    await direct(0, changes({ a: "1" }));
    world.rowAuthority = async (_tx, claims) =>
      claims.map(({ identityId }) =>
        identityId === "id-1" ? new FabricError("lease.lost", "another holds it") : undefined,
      );
    const commits = ["id-1", "id-2"].map((identityId, at): RowCommit => {
      const version = identityId === "id-1" ? 1 : 0;
      return { claim: claim(identityId), version, requestId: `g${at}`, changes: changes({ a: "2" }) };
    });
    const verdicts = await vault.rows.commitAll(commits);
    expect(commits.map((commit) => codeIn(verdicts.get(commit)))).toEqual(["lease.lost", 1]);
    expect(await codeOf(daemon.loadRows())).toBe("lease.lost");
    world.rowAuthority = async (_tx, claims) => claims.map(() => undefined);
    expect(await daemon.loadRows()).toMatchObject({ version: 1, rows: { a: "1" } });
  });

  test("a take-over in the middle: the new holder sees the old one's last commit, or the old one is refused", async () => {
    await direct(0, changes({ a: "1" }));
    let holder = 1;
    const asked = Promise.withResolvers<void>();
    const gate = Promise.withResolvers<void>();
    world.rowAuthority = async (_tx, claims) => {
      const verdicts = claims.map(({ epoch }) =>
        epoch === holder ? undefined : new FabricError("lease.lost", "another holds it"),
      );
      if (claims[0]?.epoch === 1) {
        asked.resolve();
        await gate.promise;
      }
      return verdicts;
    };
    // The old holder's commit was found good, and is not committed yet.
    const last = daemon.commitRows(1, changes({ a: "2" }));
    await asked.promise;
    holder = 2;
    daemon.epoch = 2;
    let isLoaded = false;
    const loading = daemon.loadRows().then((loaded) => {
      isLoaded = true;
      return loaded;
    });
    await until(
      async () => {
        const { rows } = await world.pool.query(
          "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted",
        );
        return rows.length > 0;
      },
      { what: "the load to wait" },
    );
    expect(isLoaded).toBe(false);
    gate.resolve();
    expect(await last).toEqual({ version: 2 });
    expect(await loading).toMatchObject({ version: 2, rows: { a: "2" } });
    // From now on the old one is refused, whatever version it names.
    daemon.epoch = 1;
    expect(await codeOf(daemon.commitRows(2, changes({ a: "stale" })))).toBe("lease.lost");
    daemon.epoch = 2;
    expect(await daemon.loadRows()).toMatchObject({ version: 2, rows: { a: "2" } });
  });

  test("a commit whose database goes away is no success; the same request then does it once", async () => {
    await direct(0, changes({ a: "1" }));
    world.rowAuthority = async (tx, claims) => {
      await tx.query("SELECT pg_terminate_backend(pg_backend_pid())").catch(() => undefined);
      return claims.map(() => undefined);
    };
    const request = await daemon.commitRequest(1, changes({ a: "2" }));
    expect(await codeOf(daemon.ask(request))).toBe("vault.unavailable");
    world.rowAuthority = async (_tx, claims) => claims.map(() => undefined);
    expect(await daemon.loadRows()).toMatchObject({ version: 1, rows: { a: "1" } });
    expect(await daemon.ask(request)).toEqual({ version: 2 });
    expect(await daemon.ask(request)).toEqual({ version: 2 });
    expect(await daemon.loadRows()).toMatchObject({ version: 2, rows: { a: "2" } });
  });

  test("neither names nor values are in the database, the audit or the log", async () => {
    await daemon.commitRows(0, changes({ [NAME]: SECRET }));
    await daemon.loadRows();
    await codeOf(daemon.commitRows(7, changes({ [NAME]: SECRET })));
    const seen = [await world.dump(), JSON.stringify(await world.audit()), ...served.logged].join("\n");
    for (const secret of [NAME, SECRET]) expect(reveals(seen, secret), secret).toBe(false);
    const loads = (await world.audit()).filter(({ action }) => action === "vault.rows_loaded");
    expect(loads).toMatchObject([{ actor: MATRIX, subject: "id-1", detail: { version: 1, rows: 1 } }]);
  });

  test("a rotated key reads on; dropping the identity or shredding the workspace leaves nothing", async () => {
    await direct(0, changes({ a: "1", b: "2" }));
    await vault.rotateWorkspaceKey("ws1");
    await direct(1, changes({ b: "3" }));
    expect(await (await VaultOnBus.serve(world, await world.vault())).vault.health()).toMatchObject({
      state: "open",
    });
    expect(await daemon.loadRows()).toMatchObject({ version: 2, rows: { a: "1", b: "3" } });
    await direct(0, changes({ c: "1" }), "id-2");

    await vault.drop({ ...REF, service: "matrix" });
    const left = async () =>
      (
        await world.pool.query<{ identity_id: string }>(
          "SELECT identity_id FROM vault.rows JOIN vault.row_sets USING (set_id)",
        )
      ).rows;
    expect(await left()).toEqual([{ identity_id: "id-2" }]);
    expect(await daemon.loadRows()).toMatchObject({ version: 0, rows: {} });

    await world.pool.query("CREATE TABLE kept_sets AS SELECT * FROM vault.row_sets");
    await world.pool.query("CREATE TABLE kept AS SELECT * FROM vault.rows");
    await vault.shredWorkspace("ws1");
    expect(await left()).toEqual([]);
    await world.pool.query("INSERT INTO vault.row_sets SELECT * FROM kept_sets");
    await world.pool.query("INSERT INTO vault.rows SELECT * FROM kept");
    expect(await codeOf(daemon.loadRows("id-2"))).toBe("vault.unavailable");
  });

  test("a sealed vault, and an audit that fails, give no rows", async () => {
    await direct(0, changes({ a: "1" }));
    world.auditFails = new Error("no audit");
    expect(await codeOf(daemon.loadRows())).toBe("vault.unavailable");
    world.auditFails = undefined;
    vault.seal("a test");
    expect(await codeOf(daemon.loadRows())).toBe("vault.sealed");
    expect(await codeOf(daemon.commitRows(1, changes({ a: "2" })))).toBe("vault.sealed");
    await vault.unseal();
    expect(await daemon.loadRows()).toMatchObject({ version: 1, rows: { a: "1" } });
  });
});

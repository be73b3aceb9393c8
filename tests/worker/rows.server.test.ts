/** Durable rows in a running core: who may load and commit them, what unlinking leaves, and the echo daemon's counts. */
import { randomUUID } from "node:crypto";
import { ownRecord, registerKey } from "@linkspan/compose/parts";
import {
  channelRef,
  fromBase64url,
  type Metadata,
  openRows,
  type RowsContext,
  type Sealed,
  sealKeysFrom,
  sealRows,
} from "@linkspan/envelopes";
import type { Bus } from "@linkspan/fabric";
import { type Identity, updateIdentity } from "@linkspan/store";
import { recordIntent, unlink } from "@linkspan/worker";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { describeWithServers } from "../servers/available.ts";
import { type PostgresServer, startPostgres } from "../servers/postgres.ts";
import { SignedDaemon } from "./signed-daemon.ts";
import { openWorld, type World, WORKSPACE } from "./world.ts";

const SEAL = sealKeysFrom(new Uint8Array(32).fill(8));

describeWithServers(["postgres"], "durable rows in the core", () => {
  let server: PostgresServer;

  beforeAll(async () => {
    server = await startPostgres();
  });
  afterAll(() => server?.[Symbol.asyncDispose]());

  describe("who may", () => {
    let world: World;
    let bus: Bus;
    let own: SignedDaemon;
    let sibling: SignedDaemon;
    let stranger: SignedDaemon;

    beforeAll(async () => {
      world = await openWorld({ databaseUrl: await server.createDatabase("rows"), daemons: false });
      bus = world.broker.connect("tester");
      own = await enrolled("irc", "primary", 5);
      sibling = await enrolled("irc", "second", 6);
      stranger = await enrolled("echo", "primary", 7);
      for (const daemon of [own, sibling, stranger]) await daemon.hold();
      await own.serve("alice");
      await own.serve("rita", "rival");
      await own.serve("una");
    });
    afterAll(async () => {
      await bus?.[Symbol.asyncDispose]();
      await world?.[Symbol.asyncDispose]();
    });

    async function enrolled(service: string, instance: string, seed: number): Promise<SignedDaemon> {
      const daemon = new SignedDaemon(world.core, bus, service, instance, seed);
      const record = { issuers: [daemon.issuer], purposes: ["envelope" as const], services: [service] };
      await registerKey(
        world.core,
        ownRecord(daemon.signer, { ...record, seal: SEAL.publicKey }, new Date()),
      );
      return daemon;
    }

    const contextOf = (
      daemon: SignedDaemon,
      direction: RowsContext["direction"],
      identityId: string,
      version: number,
      workspaceId: string,
    ): RowsContext => ({ direction, daemon: daemon.issuer, workspaceId, identityId, version, cursor: "" });

    async function commit(
      daemon: SignedDaemon,
      identityId: string,
      version: number,
      value: string,
      { workspace_id = WORKSPACE, ...metadata }: Partial<Metadata> = {},
    ): Promise<unknown> {
      const { seal_b64u: seal } = world.core.keys.get(world.core.signer.kid)?.record ?? {};
      const context = contextOf(daemon, "commit", identityId, version, workspace_id);
      const changes = new Map([["row", Buffer.from(value)]]);
      const sealed = await sealRows(fromBase64url(seal ?? "") as Uint8Array, context, changes);
      const request = { identity_id: identityId, version, sealed };
      return codeOrVersion(await daemon.ask("vault", "commit_rows", request, { workspace_id, ...metadata }));
    }

    async function load(
      daemon: SignedDaemon,
      identityId: string,
      { workspace_id = WORKSPACE, ...metadata }: Partial<Metadata> = {},
    ): Promise<unknown> {
      const request = { identity_id: identityId };
      const answer = await daemon.ask("vault", "load_rows", request, { workspace_id, ...metadata });
      const version = codeOrVersion(answer);
      if (typeof version !== "number") return version;
      if (answer.sealed === undefined) return { version };
      const context = contextOf(daemon, "load", identityId, version, workspace_id);
      const rows = await openRows(SEAL.privateKey, context, answer.sealed as Sealed);
      return { version, row: Buffer.from(rows.get("row") ?? []).toString() };
    }

    function codeOrVersion(answer: Record<string, unknown>): unknown {
      return (answer.error as { code: string } | undefined)?.code ?? answer.version;
    }

    test("only the holder of the current epoch, and only for what it serves", async () => {
      expect(await commit(own, "alice", 0, "one")).toBe(1);
      expect(await load(own, "alice")).toEqual({ version: 1, row: "one" });
      expect(await commit(own, "rita", 0, "hers", { workspace_id: "rival" })).toBe(1);

      for (const other of [sibling, stranger]) {
        expect(await load(other, "alice")).toBe("envelope.wrong_issuer");
        expect(await commit(other, "alice", 1, "forged")).toBe("envelope.wrong_issuer");
      }
      // A valid key and a valid lease, but the identity is another workspace's.
      expect(await load(own, "rita")).toBe("envelope.wrong_issuer");
      expect(await commit(own, "rita", 1, "forged")).toBe("envelope.wrong_issuer");
      expect(await load(own, "alice", { workspace_id: "rival" })).toBe("envelope.wrong_issuer");
      expect(await commit(own, "nobody", 0, "forged")).toBe("envelope.wrong_issuer");

      const older = own.epoch ?? 0;
      await own.hold();
      expect(await commit(own, "alice", 1, "stale", { epoch: older })).toBe("lease.lost");
      expect(await load(own, "alice", { epoch: older })).toBe("lease.lost");
      await own.lose();
      expect(await commit(own, "alice", 1, "lost")).toBe("lease.lost");
      await own.hold();
      expect(await load(own, "alice")).toEqual({ version: 1, row: "one" });
      expect(await load(own, "rita", { workspace_id: "rival" })).toEqual({ version: 1, row: "hers" });
    });

    test("an identity that was moved to another instance is read and written there, and no longer here", async () => {
      await own.serve("moved");
      expect(await commit(own, "moved", 0, "here")).toBe(1);
      await world.core.database.query("UPDATE identities SET instance = 'second' WHERE id = 'moved'");
      expect(await load(sibling, "moved")).toEqual({ version: 1, row: "here" });
      expect(await commit(own, "moved", 1, "stale")).toBe("envelope.wrong_issuer");
      expect(await commit(sibling, "moved", 1, "there")).toBe(2);
      expect(await load(sibling, "moved")).toEqual({ version: 2, row: "there" });
    });

    test("unlinking deletes them, and nobody writes any more", async () => {
      expect(await commit(own, "una", 0, "one")).toBe(1);
      await unlink(world.core, WORKSPACE, "una", "test");
      const { rows } = await world.core.database.query(
        "SELECT 1 FROM vault.row_sets WHERE identity_id = 'una'",
      );
      expect(rows).toEqual([]);
      expect(await commit(own, "una", 1, "two")).toBe("envelope.wrong_issuer");
      expect(await commit(own, "una", 0, "two")).toBe("envelope.wrong_issuer");
      expect(await load(own, "una")).toBe("envelope.wrong_issuer");
      await updateIdentity(world.core.database.pool, "alice", { bridge_state: "connected" });
      expect(await load(own, "alice")).toMatchObject({ version: 1 });
    });
  });

  test("the echo daemon counts what it says in rows, conversation by conversation", async () => {
    const url = await server.createDatabase("counts");
    const counts: (number | undefined)[] = [];
    await using disposal = new AsyncDisposableStack();
    const first = disposal.use(await openWorld({ databaseUrl: url }));
    first.platform.on("performed", (_account, { count }) => counts.push(count));
    const identity = await first.link("user-1", { nick: "me", count: true });
    for (const text of ["one", "two"]) await say(first, identity, text);
    expect(counts).toEqual([1, 2]);
    const other = await say(first, identity, "elsewhere", "other");
    expect(other).toBe("sent");
    expect(counts).toEqual([1, 2, 1]);
  });

  async function say(world: World, identity: Identity, text: string, room = "room"): Promise<string> {
    const { intent } = await recordIntent(world.core, {
      workspaceId: WORKSPACE,
      userId: identity.user_id,
      identityId: identity.id,
      action: "outbound_message",
      conversation: channelRef(WORKSPACE, "echo", [room]),
      payload: { text },
      idempotencyKey: randomUUID(),
      actor: "test",
    });
    return world.settled(intent.id);
  }
});

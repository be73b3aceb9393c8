/** Who names another workspace's intent is told that there is none, and neither waits for its row nor holds it. */
import { randomUUID } from "node:crypto";
import type { Envelope } from "@linkspan/envelopes";
import { currentLease, Database, intentById, migrate, SHORT_WORK } from "@linkspan/store";
import { cancelIntent, type Core, resolveIntent } from "@linkspan/worker";
import { Attempts, committed, followReports, reportsIn } from "@linkspan/worker/testing";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { describeWithServers } from "../servers/available.ts";
import { type PostgresServer, startPostgres } from "../servers/postgres.ts";
import { OutboxModel } from "./outbox-model.ts";

const RIVAL = "rival";

describeWithServers(["postgres"], "another workspace's intent, while its own daemon works on it", () => {
  let server: PostgresServer;
  let database: Database;
  let impatient: Database;
  let core: Core;
  let id: string;

  beforeAll(async () => {
    server = await startPostgres({ settings: { fsync: "off", synchronous_commit: "off" } });
    const url = await server.createDatabase("strangers");
    database = new Database(url);
    impatient = new Database(url, { limits: { ...SHORT_WORK, lockMs: 300 } });
    await migrate(database);
  });
  afterAll(async () => {
    await impatient?.[Symbol.asyncDispose]();
    await database?.[Symbol.asyncDispose]();
    await server?.[Symbol.asyncDispose]();
  });
  beforeEach(async () => {
    const model = new OutboxModel(database);
    await model.start(["alice"]);
    core = { ...model.core, database: impatient };
    await model.record("alice", "room", 1);
    [id = ""] = model.recorded;
    await model.claim(true);
  });

  async function envelope(action: string, payload: object): Promise<Envelope> {
    const lease = await currentLease(database.pool, "irc", "primary");
    return {
      schema: "msgr.bridge.v1",
      service: action === "attempt" ? "core" : "irc",
      action,
      trace_id: randomUUID(),
      occurred_at: new Date().toISOString(),
      metadata: {
        issuer: "daemon:irc:primary",
        workspace_id: RIVAL,
        instance: "primary",
        message_id: randomUUID(),
        identity_id: "alice",
        epoch: lease?.epoch ?? 0,
      },
      payload: { ...payload },
    };
  }
  const part = () => ({ intent_id: id, attempt: 1, part: 0, parts: 1 });
  const notFound = { code: "request.not_found" };

  test.each<[string, () => Promise<unknown>]>([
    [
      "asked to be sent",
      async () => {
        const asked = new Attempts(core).answer(await envelope("attempt", part()), core.signer.kid);
        await expect(asked).rejects.toMatchObject(notFound);
      },
    ],
    ["cancelled", () => expect(cancelIntent(core, RIVAL, id, "mallory")).rejects.toMatchObject(notFound)],
    [
      "settled by a person",
      async () => {
        const resolution = { workspaceId: RIVAL, id, outcome: "failed", actor: "mallory" } as const;
        await expect(resolveIntent(core, resolution)).rejects.toMatchObject(notFound);
      },
    ],
    [
      "reported on",
      async () => {
        const at = new Date().toISOString();
        const report = await envelope("delivery_status", { ...part(), status: "failed", at });
        await committed(core, (on, after) => followReports(core, on, after, reportsIn(report)));
      },
    ],
  ])("%s", async (_what, work) => {
    await database.transaction(async (client) => {
      const locked = await client.query("SELECT 1 FROM intents WHERE id = $1 FOR UPDATE", [id]);
      expect(locked.rowCount).toBe(1);
      await work();
    });
    expect(await intentById(database.pool, id)).toMatchObject({ state: "queued", attempt: 1 });
  });
});

/** At 10^5 rows, what is swept, listed or ended reads what it needs and no more. */
import {
  Database,
  deleteAged,
  endPendingIdentities,
  expireAuthSessions,
  identityPage,
  identitiesOf,
  listQuarantine,
  lockUnsettledIntents,
  migrate,
  type Queryable,
} from "@linkspan/store";
import { afterAll, beforeAll, expect, test } from "vitest";
import { describeWithServers } from "../servers/available.ts";
import { type PostgresServer, startPostgres } from "../servers/postgres.ts";
import { touched } from "./plan.ts";

const ROWS = 100_000;

describeWithServers(["postgres"], "plans at 10^5 rows", () => {
  let server: PostgresServer;
  let database: Database;

  beforeAll(async () => {
    server = await startPostgres();
    database = new Database(await server.createDatabase("plans"));
    await migrate(database);
    await using upkeep = database.forLongWork();
    await upkeep.query(
      `INSERT INTO identities (id, workspace_id, user_id, service, home, instance, state, settings)
       SELECT 'i' || i, 'ws' || i % 1000, 'u' || i, 'irc', 'p', 'shard-' || i % 500, CASE WHEN i % 5000 = 0 THEN 'pending' ELSE 'linked' END, '{}'
         FROM generate_series(1, ${ROWS}) i`,
    );
    await upkeep.query(
      `INSERT INTO auth_sessions (id, workspace_id, user_id, service, identity_id, state, expires_at)
       SELECT 's' || i, 'ws' || i % 1000, 'u', 'irc', 'i' || i, CASE WHEN i % 5000 = 1 THEN 'awaiting_user' ELSE 'linked' END, now()
         FROM generate_series(1, ${ROWS}) i`,
    );
    await upkeep.query(
      `INSERT INTO intents (id, workspace_id, user_id, identity_id, service, action, payload, content, idempotency_key, trace_id, state)
       SELECT 'm' || i, 'ws' || i % 1000, 'u', 'i' || i % 50 + 1, 'irc', 'outbound_message', '{}', '\\x00', 'k', 't', CASE WHEN i % 1000 = 0 THEN 'queued' ELSE 'sent' END
         FROM generate_series(1, ${ROWS}) i`,
    );
    await upkeep.query(
      `INSERT INTO quarantine (code, detail, routing_key, workspace_id, body, body_hash, state)
       SELECT 'envelope.schema', 'd', 'r', 'ws' || i % 1000, '\\x00', int4send(i), CASE WHEN i % 1000 = 0 THEN 'open' ELSE 'dropped' END
         FROM generate_series(1, ${ROWS}) i`,
    );
    await upkeep.query("VACUUM ANALYZE");
  });
  afterAll(async () => {
    await database?.[Symbol.asyncDispose]();
    await server?.[Symbol.asyncDispose]();
  });

  const PAGE = { after: "", count: 200, bytes: 262_144, identityBytes: 40_960 };

  test.each<[string, (on: Queryable) => Promise<unknown>]>([
    ["what unlinking ends", (on) => lockUnsettledIntents(on, "i7", 100)],
    ["identities of a workspace", (on) => identitiesOf(on, { workspaceId: "ws7", limit: 100 })],
    ["identities of a user", (on) => identitiesOf(on, { workspaceId: "ws7", userId: "u7", limit: 100 })],
    ["identities of an instance", (on) => identityPage(on, { service: "irc", instance: "shard-7" }, PAGE)],
    ["link sessions that ran out", (on) => expireAuthSessions(on)],
    ["identities that were never linked", (on) => endPendingIdentities(on)],
    ["quarantine of a workspace", (on) => listQuarantine(on, { workspaceId: "ws7", limit: 50 })],
    ["open quarantine", (on) => listQuarantine(on, { state: "open", limit: 50 })],
    [
      "rows past the retention, when there are none",
      (on) =>
        deleteAged(
          { pool: on, query: () => Promise.resolve({ rows: [] }) } as unknown as Database,
          new Date(Date.now() - 86_400_000),
        ),
    ],
  ])("%s", async (_what, work) => {
    expect(await touched(database, work)).toBeLessThan(ROWS / 100);
  });
});

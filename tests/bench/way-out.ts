/**
 * The way out as a whole: intents recorded by many callers, sent by an echo identity, brought to `sent`.
 *
 *   node tests/bench/way-out.ts [intents] [callers]
 *
 * One process holds the core, the embedded bus and the echo daemon; PostgreSQL is its own, with fsync on.
 */
import { randomUUID } from "node:crypto";
import { channelRef } from "@linkspan/envelopes";
import { recordIntent } from "@linkspan/worker";
import { startPostgres } from "../servers/postgres.ts";
import { until } from "../servers/until.ts";
import { openWorld, WORKSPACE } from "../worker/world.ts";

const count = Number(process.argv[2] ?? 600);
const callers = Number(process.argv[3] ?? 32);

await using server = await startPostgres();
await using world = await openWorld({ databaseUrl: await server.createDatabase("way_out") });
const { core } = world;
const identity = await world.link();

async function sentOf(): Promise<number> {
  const { rows } = await core.database.query<{ n: number }>(
    "SELECT count(*)::int AS n FROM intents WHERE state = 'sent'",
  );
  return rows[0]?.n ?? 0;
}

const startedAt = performance.now();
let next = 0;
await Promise.all(
  Array.from({ length: callers }, async () => {
    for (let i = next++; i < count; i = next++) {
      await recordIntent(core, {
        workspaceId: WORKSPACE,
        userId: identity.user_id,
        identityId: identity.id,
        action: "outbound_message",
        conversation: channelRef(WORKSPACE, "echo", [`room ${i % 64}`]),
        payload: { text: `intent ${i}` },
        idempotencyKey: randomUUID(),
        actor: "bench",
      });
    }
  }),
);
const recordedMs = performance.now() - startedAt;
await until(async () => (await sentOf()) === count, {
  what: "all to be sent",
  timeoutMs: 300_000,
  everyMs: 50,
});
const sentMs = performance.now() - startedAt;
const perSecond = (ms: number): number => Math.round((count / ms) * 1_000);
process.stdout.write(
  `${count} intents, ${callers} callers: recorded ${perSecond(recordedMs)} a second, sent ${perSecond(sentMs)} a second\n`,
);

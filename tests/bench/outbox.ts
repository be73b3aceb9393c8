/**
 * What it costs to look for turns and to claim them, by the number of lanes that wait.
 *
 *   node tests/bench/outbox.ts [lanes…]        default 1000 100000 1000000
 *
 * Prints, for each number: a look with nothing to do while all lanes wait for later, while their instance is down,
 * and while all but one identity's credit is used up; then claims of 200 turns while all lanes are due, and the
 * plan of one.
 */
import {
  claimLease,
  claimStatement,
  claimTurns,
  Database,
  dequeue,
  migrate,
  msUntilDue,
  type Turn,
} from "@linkspan/store";
import { startPostgres } from "../servers/postgres.ts";

const LIMIT = 200;
const OPTIONS = { limit: LIMIT, credit: 16, overdueMs: 30_000 };
const sizes = process.argv.slice(2).map(Number);

await using server = await startPostgres({ settings: { shared_buffers: "512MB", max_wal_size: "4GB" } });
for (const lanes of sizes.length > 0 ? sizes : [1_000, 100_000, 1_000_000]) await measure(lanes);

async function measure(lanes: number): Promise<void> {
  await using database = new Database(await server.createDatabase(`outbox_${lanes}`));
  await migrate(database);
  await fill(database, lanes);
  const say = (what: string, text: string): void => {
    process.stdout.write(`${lanes} lanes, ${what}: ${text}\n`);
  };

  say("their instance is down, a look", await timed(50, () => msUntilDue(database.pool)));
  await claimLease(database.pool, {
    service: "irc",
    instance: "p",
    holder: "h",
    kid: "k",
    ttlMs: 86_400_000,
  });
  await database.query("UPDATE lanes SET due_at = now() + interval '1 hour'");
  await database.query("VACUUM ANALYZE lanes");
  say("due in an hour, a look", await timed(50, () => msUntilDue(database.pool)));
  say("due in an hour, a claim of nothing", await timed(50, () => claimTurns(database, OPTIONS)));

  await database.query("UPDATE lanes SET due_at = now() - random() * interval '1 hour'");
  await database.query("VACUUM ANALYZE lanes");
  let claimed: Turn[] = [];
  const times: number[] = [];
  for (let i = 0; i < Math.min(25, lanes / LIMIT); i++) {
    const startedAt = performance.now();
    claimed = await claimTurns(database, OPTIONS);
    times.push(performance.now() - startedAt);
    if (claimed.length !== LIMIT) throw new Error(`claimed ${claimed.length} of ${LIMIT}`);
  }
  say(`all due, a claim of ${LIMIT}`, quantiles(times));
  const ids = claimed.map(({ intent }) => intent.id);
  say(
    `an end of ${LIMIT} heads`,
    await timed(1, () => database.transaction((client) => dequeue(client, ids))),
  );
  if (lanes === 100_000) await plan(database);

  // One identity with all the lanes: what has no credit is read once, and parked.
  await database.query(
    "UPDATE lanes SET identity_id = 'i1', lane = intent_id, published_at = NULL, published_epoch = NULL, due_at = now()",
  );
  await database.query("UPDATE outbox SET identity_id = 'i1', lane = intent_id");
  await database.query("VACUUM ANALYZE lanes");
  const startedAt = performance.now();
  while ((await msUntilDue(database.pool)) === 0) await claimTurns(database, OPTIONS);
  say(
    "of one identity, until all without credit are parked",
    `${Math.round(performance.now() - startedAt)} ms, once`,
  );
  say("of one identity, parked, a look", await timed(50, () => msUntilDue(database.pool)));
}

async function fill(database: Database, lanes: number): Promise<void> {
  await database.query(
    `INSERT INTO identities (id, workspace_id, user_id, service, home, instance, state, settings)
     SELECT 'i' || i, 'acme', 'u', 'irc', 'p', 'p', 'linked', '{}' FROM generate_series(1, $1::int) i`,
    [lanes],
  );
  await database.query(
    `INSERT INTO intents (id, workspace_id, user_id, identity_id, service, action, payload, content, idempotency_key, trace_id, state)
     SELECT 'm' || i, 'acme', 'u', 'i' || i, 'irc', 'outbound_message', '{"text":"hello"}', '\\x00', 'k', 't', 'queued'
       FROM generate_series(1, $1::int) i`,
    [lanes],
  );
  await database.query(
    `INSERT INTO outbox (intent_id, service, instance, identity_id, lane, bytes)
     SELECT id, service, 'p', identity_id, 'c', 16 FROM intents`,
  );
  await database.query(
    `INSERT INTO lanes (intent_id, service, instance, identity_id, lane, bytes)
     SELECT intent_id, service, instance, identity_id, lane, bytes FROM outbox`,
  );
  await database.query("VACUUM ANALYZE");
}

async function plan(database: Database): Promise<void> {
  const { rows } = await database.query<{ "QUERY PLAN": string }>(
    `EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, BUFFERS OFF) ${claimStatement(LIMIT)}`,
    [OPTIONS.credit, OPTIONS.overdueMs, 16 * 1_048_576, []],
  );
  process.stdout.write(`${rows.map((row) => row["QUERY PLAN"]).join("\n")}\n`);
}

async function timed(times: number, work: () => Promise<unknown>): Promise<string> {
  const taken: number[] = [];
  for (let i = 0; i < times; i++) {
    const startedAt = performance.now();
    await work();
    taken.push(performance.now() - startedAt);
  }
  return quantiles(taken);
}

function quantiles(times: readonly number[]): string {
  const sorted = times.toSorted((a, b) => a - b);
  const at = (share: number): string =>
    (sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0).toFixed(2);
  return `median ${at(0.5)} ms, slowest tenth ${at(0.9)} ms`;
}

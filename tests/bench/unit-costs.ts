/**
 * `npx node tests/bench/unit-costs.ts [--events 100000] [--intents 2000] [--identities 2000]`: what one event,
 * one intent and one identity cost in the database: rows, bytes on disk (table and indexes), bytes of WAL, and
 * milliseconds. Prints a Markdown table, and what many of them need, extrapolated in a straight line.
 */
import { createHash, randomBytes, randomUUID } from "node:crypto";
import { parseArgs } from "node:util";
import { channelRef } from "@linkspan/envelopes";
import {
  advancePositions,
  appendEvents,
  audit,
  type Database,
  insertAuthSession,
  insertIdentity,
  moveAuthSession,
  type NewEvent,
  updateIdentity,
} from "@linkspan/store";
import { CREDENTIAL } from "@linkspan/vault";
import { recordIntent } from "@linkspan/worker";
import { startPostgres } from "../servers/postgres.ts";
import { openWorld, type World, WORKSPACE } from "../worker/world.ts";
import { corpus, signer } from "./corpus.ts";

const { values } = parseArgs({
  options: {
    events: { type: "string", default: "100000" },
    intents: { type: "string", default: "2000" },
    identities: { type: "string", default: "2000" },
  },
});

interface Cost {
  readonly what: string;
  readonly count: number;
  readonly rows: number;
  readonly bytes: number;
  readonly wal: number;
  readonly ms: number;
}

const BATCH = 500;
const AT_ONCE = 32;

async function measured(
  database: Database,
  what: string,
  count: number,
  work: () => Promise<void>,
): Promise<Cost> {
  await database.query("CHECKPOINT");
  const before = await sizes(database);
  const startedAt = performance.now();
  await work();
  const ms = performance.now() - startedAt;
  const after = await sizes(database);
  const per = (name: "rows" | "bytes" | "wal") => (after[name] - before[name]) / count;
  return { what, count, rows: per("rows"), bytes: per("bytes"), wal: per("wal"), ms: ms / count };
}

async function sizes(database: Database) {
  await using upkeep = database.forLongWork();
  await upkeep.query("VACUUM ANALYZE");
  const { rows } = await upkeep.query<{ rows: number; bytes: number; wal: number }>(
    `SELECT sum(greatest(reltuples, 0))::float8 AS rows, sum(pg_total_relation_size(c.oid))::float8 AS bytes,
            (SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::float8) AS wal
       FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE c.relkind = 'r' AND n.nspname IN ('public', 'vault')`,
  );
  return rows[0] ?? { rows: 0, bytes: 0, wal: 0 };
}

async function events({ core: { database } }: World, count: number): Promise<Cost> {
  const templates = corpus(10_000, "unit-costs");
  const body = templates.reduce((sum, { body: bytes }) => sum + bytes.length, 0) / templates.length;
  const fresh = (_: unknown, i: number): NewEvent => {
    const { body: bytes, sig, route } = templates[i % templates.length] as (typeof templates)[number];
    return {
      workspaceId: WORKSPACE,
      messageId: randomBytes(32),
      content: randomBytes(32),
      leaf: createHash("sha256").update(bytes).digest(),
      service: route.service,
      account: randomUUID(),
      conversation: `msgr://channels/${WORKSPACE}/bridge/irc/libera/%23room-${i % 100}`,
      fanOut: true,
      kid: signer.kid,
      sig,
      body: bytes,
    };
  };
  return measured(database, `event (body ${Math.round(body)} B)`, count, async () => {
    for (let from = 0; from < count; from += BATCH) {
      await appendEvents(database.pool, Array.from({ length: Math.min(BATCH, count - from) }, fresh));
      if (from % 2_000 === 0) await advancePositions(database);
    }
    while ((await advancePositions(database)) !== undefined);
  });
}

/** From the request to `sent`, with the event that comes back. */
async function intents(world: World, count: number): Promise<Cost> {
  const identity = await world.link();
  const one = async (i: number) => {
    const { intent } = await recordIntent(world.core, {
      workspaceId: WORKSPACE,
      userId: identity.user_id,
      identityId: identity.id,
      action: "outbound_message",
      conversation: channelRef(WORKSPACE, "echo", [`room-${i % AT_ONCE}`]),
      payload: { text: `message ${i} of a conversation about nothing in particular` },
      idempotencyKey: randomUUID(),
      actor: "bench",
    });
    await world.settled(intent.id);
  };
  return measured(world.core.database, "intent, sent, with its echo", count, () => inParallel(count, one));
}

async function identities({ core }: World, count: number): Promise<Cost> {
  const { database, vault } = core;
  const one = async (i: number) => {
    const id = randomUUID();
    const of = { workspace_id: WORKSPACE, user_id: `user-${i}`, service: "irc", identity_id: id };
    const ref = { workspaceId: WORKSPACE, identityId: id, service: "irc", kind: CREDENTIAL };
    await vault.handOver(ref, { password: new TextEncoder().encode("correct horse battery") });
    const session = await database.transaction(async (client) => {
      await insertIdentity(client, {
        id,
        workspace_id: WORKSPACE,
        user_id: of.user_id,
        service: "irc",
        instance: "primary",
        settings: { network: "libera", host: "irc.libera.chat", port: 6697, nick: `user-${i}` },
      });
      const expires = new Date(Date.now() + 900_000);
      const opened = await insertAuthSession(client, {
        ...of,
        id: randomUUID(),
        step: {},
        expires_at: expires,
      });
      await note(client, "session.opened", opened.id);
      return opened;
    });
    await vault.keepHandOver(ref);
    await database.transaction(async (client) => {
      await updateIdentity(client, id, { state: "linked", remote: `user-${i}`, name: `user-${i}` });
      await moveAuthSession(client, session.id, "linked", { identity_id: id });
      await note(client, "session.credentials_given", session.id);
      await note(client, "identity.linked", id);
    });
  };
  const note = (client: Parameters<typeof audit>[0], action: string, subject: string) =>
    audit(client, { workspaceId: WORKSPACE, actor: "bench", action, subject });
  return measured(database, "identity, linked, with its credential", count, () => inParallel(count, one));
}

async function inParallel(count: number, one: (i: number) => Promise<void>): Promise<void> {
  let next = 0;
  const lane = async () => {
    while (next < count) await one(next++);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, lane));
}

const GIB = 1_073_741_824;
const HOUR_MS = 3_600_000;

function needs({ what, bytes, wal, ms }: Cost, many: number): string {
  const short = what.split(/[,(]/)[0]?.trim();
  return `| 10^${Math.log10(many)} × ${short} | ${((bytes * many) / GIB).toFixed(1)} GiB | ${((wal * many) / GIB).toFixed(1)} GiB | ${((ms * many) / HOUR_MS).toFixed(1)} h |`;
}

await using server = await startPostgres({ settings: { max_wal_size: "4GB", shared_buffers: "256MB" } });
await using world = await openWorld({ databaseUrl: await server.createDatabase("costs") });
const ofEvents = await events(world, Number(values.events));
const ofIdentities = await identities(world, Number(values.identities));
const ofIntents = await intents(world, Number(values.intents));
const lines = [
  "| one | measured over | rows | bytes on disk | bytes of WAL | ms |",
  "| --- | --- | --- | --- | --- | --- |",
  ...[ofEvents, ofIntents, ofIdentities].map(
    ({ what, count, rows, bytes, wal, ms }) =>
      `| ${what} | ${count} | ${rows.toFixed(1)} | ${Math.round(bytes)} | ${Math.round(wal)} | ${ms.toFixed(3)} |`,
  ),
  "",
  "| extrapolated | on disk | WAL | time, one process |",
  "| --- | --- | --- | --- |",
  needs(ofEvents, 1e8),
  needs(ofIntents, 1e6),
  needs(ofIdentities, 1e5),
];
process.stdout.write(`${lines.join("\n")}\n`);

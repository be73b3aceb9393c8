/** Deduplicating and storing events, against a plain UNNEST insert of the same columns into one table. */
import { createHash, randomBytes } from "node:crypto";
import { appendEvents, type Database, type NewEvent } from "@linkspan/store";
import { type Contest, timed } from "./compare.ts";
import { ACCOUNT, corpus, signer, WORKSPACE } from "./corpus.ts";

const BATCH = 500;

export async function persistContest(database: Database, count: number): Promise<Contest> {
  await database.query(`
    CREATE TABLE bench_events (
      message_id bytea, workspace_id text, content bytea, leaf bytea, service text, account text,
      conversation text, fan_out bool, kid text, sig text, body bytea,
      id bigserial, received_at timestamptz NOT NULL DEFAULT now(),
      PRIMARY KEY (message_id, workspace_id))`);
  const templates = corpus(count, "persist");
  const fresh = (): NewEvent[] =>
    templates.map(({ body, sig, route }) => ({
      workspaceId: WORKSPACE,
      messageId: randomBytes(32),
      content: randomBytes(32),
      leaf: createHash("sha256").update(body).digest(),
      service: route.service,
      account: ACCOUNT,
      conversation: "msgr://channels/bench/bridge/irc/libera/%23room",
      fanOut: true,
      kid: signer.kid,
      sig,
      body,
    }));
  return {
    name: "persist",
    floor: 0.6,
    ours: () =>
      store(fresh(), (batch) => appendEvents(database.pool, batch).then((inserted) => inserted.size)),
    yardstick: () => store(fresh(), (batch) => insertPlainly(database, batch)),
  };
}

async function store(events: readonly NewEvent[], insert: (batch: readonly NewEvent[]) => Promise<number>) {
  let inserted = 0;
  const run = await timed(events.length, async () => {
    for (let from = 0; from < events.length; from += BATCH)
      inserted += await insert(events.slice(from, from + BATCH));
  });
  if (inserted !== events.length) throw new Error(`${inserted} of ${events.length} events were stored`);
  return run;
}

async function insertPlainly(database: Database, batch: readonly NewEvent[]): Promise<number> {
  const { rowCount } = await database.pool.query({
    name: "bench.insert",
    text: `INSERT INTO bench_events (message_id, workspace_id, content, leaf, service, account, conversation, fan_out, kid, sig, body)
           SELECT * FROM unnest($1::bytea[], $2::text[], $3::bytea[], $4::bytea[], $5::text[], $6::text[], $7::text[], $8::bool[], $9::text[], $10::text[], $11::bytea[])
           ON CONFLICT DO NOTHING RETURNING message_id`,
    values: [
      batch.map((event) => event.messageId),
      batch.map((event) => event.workspaceId),
      batch.map((event) => event.content),
      batch.map((event) => event.leaf),
      batch.map((event) => event.service),
      batch.map((event) => event.account),
      batch.map((event) => event.conversation),
      batch.map((event) => event.fanOut),
      batch.map((event) => event.kid),
      batch.map((event) => event.sig),
      batch.map((event) => event.body),
    ],
  });
  return rowCount ?? 0;
}

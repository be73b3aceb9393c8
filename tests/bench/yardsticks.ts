/**
 * What a careful engineer writes by hand for the inbound path: RabbitMQ to PostgreSQL, every signature
 * verified, every message once. `naive` does one message at a time; `batched` verifies off the event loop,
 * inserts with UNNEST and acknowledges many at once.
 */
import { createPublicKey, verify as verifyBytes } from "node:crypto";
import { promisify } from "node:util";
import { ENVELOPE_TYPE, fromBase64url, pae } from "@linkspan/envelopes";
import type { Database } from "@linkspan/store";
import amqp, { type ConsumeMessage } from "amqplib";
import { signer } from "./corpus.ts";

const verifyLater = promisify(verifyBytes);
const key = createPublicKey({
  key: Buffer.concat([Buffer.from("302a300506032b6570032100", "hex"), signer.publicKey]),
  format: "der",
  type: "spki",
});

export const PLAIN_TABLE = `
  CREATE TABLE IF NOT EXISTS bench_inbox (
    message_id text, workspace_id text, conversation text, account text, trace_id text, body bytea, kid text, sig text,
    id bigserial, received_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (workspace_id, message_id))`;

interface Row {
  readonly metadata: {
    readonly message_id: string;
    readonly workspace_id: string;
    readonly conversation: string;
  };
  readonly trace_id: string;
  readonly payload: { readonly account: string };
}

const pieces = (message: ConsumeMessage) => {
  const headers = message.properties.headers as { kid: string; sig: string };
  const sig = fromBase64url(headers.sig) as Uint8Array;
  return { ...headers, signature: sig, signed: pae(ENVELOPE_TYPE, message.content) };
};

export async function naive(url: string, queue: string, count: number, database: Database): Promise<void> {
  const connection = await amqp.connect(url);
  const channel = await connection.createChannel();
  await channel.prefetch(1_000);
  await new Promise<void>((resolve, reject) => {
    let done = 0;
    let turn: Promise<void> = Promise.resolve();
    const take = async (message: ConsumeMessage) => {
      const { kid, sig, signature, signed } = pieces(message);
      if (!verifyBytes(null, signed, key, signature)) throw new Error("a bad signature");
      const row = JSON.parse(message.content.toString("utf8")) as Row;
      await database.pool.query({
        name: "bench.naive",
        text: `INSERT INTO bench_inbox (message_id, workspace_id, conversation, account, trace_id, body, kid, sig)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING`,
        values: [
          row.metadata.message_id,
          row.metadata.workspace_id,
          row.metadata.conversation,
          row.payload.account,
          row.trace_id,
          message.content,
          kid,
          sig,
        ],
      });
      channel.ack(message);
      done += 1;
      if (done === count) resolve();
    };
    void channel.consume(queue, (message) => {
      if (message !== null) turn = turn.then(() => take(message)).catch(reject);
    });
  });
  await channel.close();
  await connection.close();
}

const BATCH = 500;
const LINGER_MS = 5;
const VERIFYING = 128;

export async function batched(url: string, queue: string, count: number, database: Database): Promise<void> {
  const connection = await amqp.connect(url);
  const channel = await connection.createChannel();
  await channel.prefetch(2 * BATCH);
  await new Promise<void>((resolve, reject) => {
    let pending: ConsumeMessage[] = [];
    let timer: NodeJS.Timeout | undefined;
    let done = 0;
    let stored: Promise<void> = Promise.resolve();
    const flush = () => {
      clearTimeout(timer);
      timer = undefined;
      const batch = pending;
      pending = [];
      if (batch.length === 0) return;
      const verified = verifyAll(batch);
      stored = Promise.all([stored, verified])
        .then(() => insert(database, batch))
        .then(() => {
          channel.ack(batch.at(-1) as ConsumeMessage, true);
          done += batch.length;
          if (done === count) resolve();
        })
        .catch(reject);
    };
    void channel.consume(queue, (message) => {
      if (message === null) return;
      pending.push(message);
      if (pending.length >= BATCH) flush();
      else timer ??= setTimeout(flush, LINGER_MS);
    });
  });
  await channel.close();
  await connection.close();
}

async function verifyAll(batch: readonly ConsumeMessage[]): Promise<void> {
  let next = 0;
  const lane = async () => {
    while (next < batch.length) {
      const { signature, signed } = pieces(batch[next++] as ConsumeMessage);
      if (!(await verifyLater(null, signed, key, signature))) throw new Error("a bad signature");
    }
  };
  await Promise.all(Array.from({ length: VERIFYING }, lane));
}

async function insert(database: Database, batch: readonly ConsumeMessage[]): Promise<void> {
  const rows = batch.map((message) => JSON.parse(message.content.toString("utf8")) as Row);
  const headers = batch.map((message) => message.properties.headers as { kid: string; sig: string });
  await database.pool.query({
    name: "bench.batched",
    text: `INSERT INTO bench_inbox (message_id, workspace_id, conversation, account, trace_id, body, kid, sig)
           SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bytea[], $7::text[], $8::text[])
           ON CONFLICT DO NOTHING RETURNING message_id`,
    values: [
      rows.map((row) => row.metadata.message_id),
      rows.map((row) => row.metadata.workspace_id),
      rows.map((row) => row.metadata.conversation),
      rows.map((row) => row.payload.account),
      rows.map((row) => row.trace_id),
      batch.map((message) => message.content),
      headers.map((header) => header.kid),
      headers.map((header) => header.sig),
    ],
  });
}

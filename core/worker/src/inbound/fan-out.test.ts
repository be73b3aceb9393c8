/**
 * Fan-out runs in parallel with the sequencer: the cost of a slow or silent broker, or of a large backlog.
 */
import { EventEmitter } from "node:events";
import { signerFromSeed } from "@linkspan/envelopes";
import { expect, test } from "vitest";
import type { Core } from "../core.ts";
import { FanOut } from "./fan-out.ts";

const BODY_BYTES = 300_000;

/** A log of `count` large events, and a broker that confirms on demand. */
function world(count: number) {
  const state = { published: 0, unconfirmed: 0, mostUnconfirmed: 0, largestPage: 0, warned: [] as string[] };
  const confirms = new EventEmitter().setMaxListeners(0);
  const query = async ({ values }: { values: readonly number[] }) => {
    const [maxBytes = 0, after = 0, upTo = 0, limit = 0] = values;
    const rows = [];
    for (let position = after + 1; position <= Math.min(upTo, count); position++) {
      if (rows.length === limit || rows.length * BODY_BYTES >= maxBytes) break;
      rows.push(rowAt(position));
    }
    state.largestPage = Math.max(state.largestPage, rows.length * BODY_BYTES);
    return { rows };
  };
  const publish = () => {
    state.published += 1;
    state.unconfirmed += 1;
    state.mostUnconfirmed = Math.max(state.mostUnconfirmed, state.unconfirmed);
    return new Promise<void>((resolve) =>
      confirms.once("confirm", () => {
        state.unconfirmed -= 1;
        resolve();
      }),
    );
  };
  const core = {
    namespace: { fanOut: true, partitions: 8 },
    signer: signerFromSeed(new Uint8Array(32).fill(1)),
    now: () => new Date(),
    database: { pool: { query } },
    bus: { publish },
    log: {
      debug: () => undefined,
      warn: (fields: { event: string; why?: string }) => state.warned.push(fields.why ?? fields.event),
    },
  } as unknown as Core;
  return { core, state, confirm: () => confirms.emit("confirm") };
}

function rowAt(position: number) {
  return {
    position: String(position),
    workspace_id: "acme",
    message_id: Buffer.alloc(32),
    service: "irc",
    account: "alice",
    conversation: null,
    received_at: new Date(0),
    fan_out: true,
    kid: null,
    sig: null,
    body: Buffer.from(JSON.stringify({ text: "x".repeat(BODY_BYTES - 20) })),
  };
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

test("a backlog of large events is read in pages, and no more waits for the broker than one page", async () => {
  const { core, state, confirm } = world(40);
  const fanOut = new FanOut(core, new AbortController().signal);
  fanOut.offer(0, 20);
  fanOut.offer(20, 40);
  while (state.published < 40) {
    await turn();
    confirm();
  }
  expect(state.mostUnconfirmed).toBeLessThanOrEqual(4);
  expect(state.largestPage).toBeLessThanOrEqual(1_048_576 + BODY_BYTES);
  expect(state.warned).toEqual([]);
});

test("whoever gives positions never waits for the broker, and far behind the oldest are left out", async () => {
  const { core, state, confirm } = world(100_000);
  const fanOut = new FanOut(core, new AbortController().signal);
  fanOut.offer(0, 1);
  while (state.published < 1) await turn();
  for (let position = 1; position < 50_000; position += 1_000) fanOut.offer(position, position + 1_000);
  expect(state.published).toBe(1);
  while (state.warned.length === 0) {
    confirm();
    await turn();
  }
  expect(state.warned).toEqual(["fell behind"]);
});

import type { Outgoing } from "@linkspan/fabric";
import pino from "pino";
import { expect, test } from "vitest";
import type { Clock } from "../shared/clock.ts";
import { EventStream, type EventStreamOptions } from "./event-stream.ts";

interface Sent {
  readonly id: string;
  readonly confirm: () => void;
  readonly refuse: () => void;
}

/** A bus that confirms when the test says so, and a clock on which no wait takes time. */
function streamWith(options: Partial<EventStreamOptions> = {}) {
  const sent: Sent[] = [];
  const checkpoints: unknown[] = [];
  const end = new AbortController();
  const time = { ms: 0 };
  const clock: Clock = {
    now: () => new Date(0),
    monotonicMs: () => time.ms,
    after: (_, run) => {
      const soon = setImmediate(run);
      return () => clearImmediate(soon);
    },
    sleep: () => Promise.resolve(),
  };
  const stream = new EventStream({
    publish: ({ messageId }: Outgoing) =>
      new Promise((resolve, reject) => {
        sent.push({ id: messageId, confirm: resolve, refuse: () => reject(new Error("unroutable")) });
      }),
    onCheckpoint: (cursor) => checkpoints.push(cursor),
    clock,
    signal: end.signal,
    log: pino({ level: "silent" }),
    ...options,
  });
  return { stream, sent, checkpoints, end, time, ids: () => sent.map(({ id }) => id) };
}

/** Runs until no promise can make further progress. */
function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

function message(id: string, bytes = 10): Outgoing {
  return {
    messageId: id,
    body: new Uint8Array(bytes),
    route: { service: "echo", instance: "primary", action: "inbound_event", partition: 0 },
  };
}

test("the window is bounded: the next event is taken when one is confirmed", async () => {
  const { stream, sent, ids } = streamWith({ maxUnconfirmed: 2 });
  await stream.put(message("a"), undefined);
  await stream.put(message("b"), undefined);
  let taken = false;
  const third = stream.put(message("c"), undefined).then(() => {
    taken = true;
  });
  await expect.poll(() => ids()).toEqual(["a", "b"]);
  expect(taken).toBe(false);
  sent[1]?.confirm();
  await third;
  expect(ids()).toEqual(["a", "b", "c"]);
});

test("what the core has not acknowledged is bounded, too, by number and by bytes", async () => {
  for (const limit of [{ maxPending: 1 }, { maxPendingBytes: 10 }]) {
    const { stream, sent, ids } = streamWith(limit);
    await stream.put(message("a"), undefined);
    sent[0]?.confirm();
    const second = stream.put(message("b"), undefined);
    await settled();
    expect(ids()).toEqual(["a"]);
    stream.acknowledged("a");
    await second;
    expect(ids()).toEqual(["a", "b"]);
  }
});

test("a checkpoint is the last cursor with nothing unacknowledged before it", async () => {
  const { stream, checkpoints } = streamWith();
  await stream.put(message("a"), { seq: 1 });
  await stream.put(message("b"), undefined);
  await stream.put(message("c"), { seq: 3 });
  await stream.put(message("d"), { seq: 4 });
  stream.acknowledged("c");
  stream.acknowledged("d");
  expect(checkpoints).toEqual([]);
  stream.acknowledged("a");
  expect(checkpoints).toEqual([{ seq: 1 }]);
  stream.acknowledged("b");
  expect(checkpoints).toEqual([{ seq: 1 }, { seq: 4 }]);
  expect(stream.pending).toBe(0);
  expect(stream.cursor).toEqual({ seq: 4 });
});

test("an ack for something unknown, or a second one, changes nothing", async () => {
  const { stream, checkpoints } = streamWith();
  await stream.put(message("a"), { seq: 1 });
  stream.acknowledged("never seen");
  stream.acknowledged("a");
  stream.acknowledged("a");
  expect(checkpoints).toEqual([{ seq: 1 }]);
});

test("the same event twice is sent twice and acknowledged by one ack", async () => {
  const { stream, ids, checkpoints } = streamWith();
  await stream.put(message("a"), { seq: 1 });
  await stream.put(message("a"), { seq: 1 });
  stream.acknowledged("a");
  expect(ids()).toEqual(["a", "a"]);
  expect(stream.pending).toBe(0);
  expect(checkpoints).toEqual([{ seq: 1 }]);
});

test("a failed publish halts the stream, and goes again before anything newer", async () => {
  const { stream, sent, ids } = streamWith({ maxUnconfirmed: 3 });
  for (const id of ["a", "b", "c"]) await stream.put(message(id), undefined);
  const later = stream.put(message("d"), undefined);
  sent[1]?.refuse();
  sent[2]?.refuse();
  await settled();
  sent[0]?.confirm();
  await expect.poll(() => ids()).toEqual(["a", "b", "c", "b"]);
  sent[3]?.confirm();
  await expect.poll(() => ids().slice(4)).toEqual(["c"]);
  sent[4]?.refuse();
  await expect.poll(() => ids().slice(5)).toEqual(["c"]);
  sent[5]?.confirm();
  await later;
  expect(ids().slice(6)).toEqual(["d"]);
});

test("an event without an ack is asked about again: the oldest alone, until somebody answers", async () => {
  const { stream, sent, ids, time } = streamWith({ askAgainAfterMs: 1_000 });
  for (const id of ["a", "b", "c"]) await stream.put(message(id), undefined);
  for (const one of sent) one.confirm();
  await stream.confirmed();
  stream.askAgain();
  expect(ids()).toEqual(["a", "b", "c"]);

  time.ms += 1_000;
  stream.askAgain();
  expect(ids().slice(3)).toEqual(["a", "b", "c"]);
  for (const one of sent.slice(3)) one.confirm();
  await stream.confirmed();

  time.ms += 1_999;
  stream.askAgain();
  expect(ids()).toHaveLength(6);
  time.ms += 1;
  stream.askAgain();
  expect(ids().slice(6)).toEqual(["a"]);
  sent[6]?.confirm();
  await stream.confirmed();

  stream.acknowledged("a");
  time.ms += 1_000;
  stream.askAgain();
  expect(ids().slice(7)).toEqual(["b", "c"]);
});

test("when the term ends, nothing is sent any more and who waits is told why", async () => {
  const { stream, ids, end, checkpoints } = streamWith({ maxUnconfirmed: 1 });
  await stream.put(message("a"), { seq: 1 });
  const waiting = stream.put(message("b"), undefined);
  const why = new Error("the lease is lost");
  end.abort(why);
  await expect(waiting).rejects.toBe(why);
  await expect(stream.put(message("c"), undefined)).rejects.toBe(why);
  stream.acknowledged("a");
  expect(ids()).toEqual(["a"]);
  expect(checkpoints).toEqual([]);
  await stream.confirmed();
});

/** Acks are bounded, and an ack that cannot be created does not affect others. */
import { type Ack, type Envelope, messageId, signerFromSeed } from "@linkspan/envelopes";
import type { Outgoing } from "@linkspan/fabric";
import { pino } from "pino";
import { expect, test } from "vitest";
import type { Core } from "../core.ts";
import { type Acked, Acknowledger } from "./acks.ts";

function coreThat(publish: (message: Outgoing) => Promise<void>): Core {
  return {
    bus: { publish },
    signer: signerFromSeed(new Uint8Array(32).fill(1)),
    namespace: { partitions: 8 },
    log: pino({ level: "silent" }),
    now: () => new Date("2026-11-20T12:00:00.000Z"),
  } as unknown as Core;
}

const acked = (index: number, over: Partial<Acked> = {}): Acked => ({
  service: "irc",
  instance: "primary",
  workspaceId: "acme",
  account: "alice",
  messageId: messageId(["test", index]),
  status: "persisted",
  ...over,
});
const ackedIn = ({ body }: Outgoing) =>
  ((JSON.parse(Buffer.from(body).toString()) as Envelope).payload as unknown as Ack).acked;

test("one envelope holds at most a thousand ids of one account", () => {
  const sent: Outgoing[] = [];
  const acks = new Acknowledger(coreThat((message) => Promise.resolve(void sent.push(message))));
  acks.send([...Array.from({ length: 2_500 }, (_, index) => acked(index)), acked(1, { account: "bob" })]);
  expect(sent.map((message) => ackedIn(message).length)).toEqual([1_000, 1_000, 500, 1]);
});

test("an ack that cannot be made is left out, and the others are sent", () => {
  const sent: Outgoing[] = [];
  const acks = new Acknowledger(coreThat((message) => Promise.resolve(void sent.push(message))));
  acks.send([acked(1, { service: "no name" }), acked(2, { account: "x".repeat(300) }), acked(3)]);
  expect(sent.map((message) => ackedIn(message).map((one) => one.message_id))).toEqual([
    [acked(3).messageId],
  ]);
});

test("while the broker takes nothing, acks stop gathering in memory, and go on when it takes them", async () => {
  let bytes = 0;
  const taken = Promise.withResolvers<void>();
  const acks = new Acknowledger(
    coreThat((message) => {
      bytes += message.body.length;
      return taken.promise;
    }),
  );
  const batch = Array.from({ length: 1_000 }, (_, index) => acked(index));
  for (let times = 0; times < 200; times++) acks.send(batch);
  expect(bytes).toBeLessThanOrEqual(8 * 1_048_576);
  const before = bytes;
  taken.resolve();
  await new Promise((resolve) => setImmediate(resolve));
  acks.send(batch);
  expect(bytes).toBeGreaterThan(before);
});

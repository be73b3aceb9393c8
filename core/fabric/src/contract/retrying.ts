import { FabricError } from "@linkspan/envelopes";
import { expect } from "vitest";
import {
  ACK,
  type Bus,
  DEAD_LETTERS,
  type Decision,
  type Delivery,
  type Prepared,
  type Verdict,
} from "../bus.ts";
import {
  type BusCase,
  eventually,
  ids,
  message,
  outcome,
  publishAll,
  QUEUE,
  type Recorder,
  recorder,
  roundTrip,
  unique,
} from "./case.ts";

/** Ids are `<key>:<number>`. */
const keyOf = ({ delivery }: Prepared<undefined>): string => (delivery.messageId ?? "").split(":")[0] ?? "";

export const RETRYING: Record<string, BusCase> = {
  "holds only its own key for a retry; others pass, and no key is reordered": async (harness) => {
    const [bus, core] = [await harness.connect("irc"), await harness.connect("core")];
    await core.declare([QUEUE]);
    const done: string[] = [];
    let tries = 0;
    const handle = async (batch: readonly Prepared<undefined>[]): Promise<Verdict[]> => {
      const held = new Set<string>();
      return batch.map((item) => {
        const id = item.delivery.messageId ?? "";
        if (id === "a:0" && done.filter((other) => other.startsWith("b")).length < 10) {
          tries++;
          held.add("a");
        }
        if (held.has(keyOf(item))) return { do: "retry", afterMs: 5 };
        done.push(id);
        return ACK;
      });
    };
    await core.subscribe(QUEUE, { handle, keyOf }, { maxBatch: 4 });
    const mixed = ids(10).flatMap((at) => [`a:${at}`, `b:${at}`]);
    await publishAll(bus, mixed);
    await eventually(harness, "all are done", () => done.length >= 20);
    expect(tries).toBeGreaterThan(0);
    expect(done.filter((id) => id.startsWith("a"))).toEqual(ids(10, "a:"));
    expect(done.filter((id) => id.startsWith("b"))).toEqual(ids(10, "b:"));
  },

  "waits with a key until its handler decides; others pass, and nothing is handed over twice": async (
    harness,
  ) => {
    const [bus, core] = [await harness.connect("irc"), await harness.connect("core")];
    await core.declare([QUEUE]);
    const decided = Promise.withResolvers<Decision>();
    const seen = recorder(
      ({ messageId }, batch) => {
        if (messageId === "a:0") return { do: "later", decision: decided.promise };
        const behind =
          messageId?.startsWith("a") && batch.some(({ delivery }) => delivery.messageId === "a:0");
        return behind === true ? { do: "retry", afterMs: 0 } : ACK;
      },
      { keyOf },
    );
    await core.subscribe(QUEUE, seen);
    // Some drivers confirm only what is settled.
    const first = publishAll(bus, ["a:0"]);
    await eventually(harness, "the first is handed over", () => seen.ids.length === 1);
    const others = publishAll(bus, ["a:1", "b:0", "b:1"]);
    await eventually(harness, "the other key passes", () => seen.ids.includes("b:1"));
    expect(seen.ids).toEqual(["a:0", "b:0", "b:1"]);
    decided.resolve(ACK);
    await eventually(harness, "the key goes on", () => seen.ids.includes("a:1"));
    await Promise.all([first, others]);
    const again = recorder();
    await roundTrip(harness, core);
    await (await core.subscribe(QUEUE, again)).drain();
    expect([seen.ids, again.ids]).toEqual([["a:0", "b:0", "b:1", "a:1"], []]);
  },

  "holds the whole queue where there are no keys": async (harness) => {
    const [bus, core] = [await harness.connect("irc"), await harness.connect("core")];
    await core.declare([QUEUE]);
    const seen = recorder((delivery) =>
      delivery.messageId === "0" && delivery.attempt < 3 ? { do: "retry", afterMs: 5 } : ACK,
    );
    await core.subscribe(QUEUE, seen, { maxBatch: 1 });
    await publishAll(bus, ids(5));
    await eventually(harness, "all are done", () => seen.ids.length >= 7);
    expect(seen.ids).toEqual(["0", "0", "0", "1", "2", "3", "4"]);
    expect(seen.deliveries.slice(0, 3).map(({ attempt }) => attempt)).toEqual([1, 2, 3]);
  },

  "keeps what a handler declares dead among the dead letters, with its code, headers and bytes": async (
    harness,
  ) => {
    const [bus, core] = [await harness.connect("irc"), await harness.connect("core")];
    await core.declare([QUEUE]);
    const dead = await deadLetters(core);
    const seen = recorder(({ messageId }) =>
      messageId === "bad" ? { do: "dead", code: "envelope.schema", detail: "why" } : ACK,
    );
    await core.subscribe(QUEUE, seen);
    const bad = message("bad", { kid: "k", sig: "s", inReplyTo: "other", body: Buffer.from([0, 255, 1]) });
    await Promise.all([bus.publish(message("1")), bus.publish(bad), bus.publish(message("2"))]);
    await eventually(harness, "it is a dead letter", () => dead.deliveries.length === 1);
    const [found] = dead.deliveries;
    expect(Buffer.compare(found?.body ?? new Uint8Array(), bad.body)).toBe(0);
    expect(found).toMatchObject({
      kid: "k",
      sig: "s",
      messageId: "bad",
      inReplyTo: "other",
      route: bad.route,
    });
    expect(found?.death).toEqual({ code: "envelope.schema", detail: "why", queue: QUEUE.name });
    await eventually(harness, "the others are handled", () => seen.ids.length === 3);
    expect(seen.ids).toEqual(["1", "bad", "2"]);
  },

  "tries a rejected batch again whole, then in halves, until only the message at fault is dead-lettered":
    async (harness) => {
      const [bus, core] = [await harness.connect("irc"), await harness.connect("core")];
      await core.declare([QUEUE]);
      const dead = await deadLetters(core);
      const seen = rejecting(({ messageId }) =>
        messageId === "13" ? new FabricError("envelope.schema", "bad") : undefined,
      );
      await core.subscribe(QUEUE, seen);
      await publishAll(bus, ids(20));
      await eventually(harness, "it dies", () => dead.deliveries.length > 0);
      await eventually(harness, "the others are done", () => seen.done.length >= 19);
      expect(dead.ids).toEqual(["13"]);
      expect(dead.deliveries[0]?.death).toMatchObject({ code: "envelope.schema", queue: QUEUE.name });
      expect(seen.done).toEqual(ids(20).filter((id) => id !== "13"));
      const failed = seen.batches.filter((batch) => batch.includes("13"));
      const [whole] = failed;
      expect(failed[1]).toEqual(whole);
      expect(failed.at(-1)).toEqual(["13"]);
    },

  "waits an outage out: nothing is dead-lettered because of it": async (harness) => {
    const [bus, core] = [await harness.connect("irc"), await harness.connect("core")];
    await core.declare([QUEUE]);
    const dead = await deadLetters(core);
    let failures = 0;
    const seen = rejecting(() =>
      ++failures <= 30 ? new FabricError("store.unavailable", "down") : undefined,
    );
    await core.subscribe(QUEUE, seen, { maxBatch: 4 });
    await publishAll(bus, ids(10));
    await eventually(harness, "all are done", () => seen.done.length >= 10);
    expect(seen.done).toEqual(ids(10));
    expect(dead.ids).toEqual([]);
  },

  "blames a message for an unknown error only when others succeed between its failures": async (harness) => {
    const [bus, core] = [await harness.connect("irc"), await harness.connect("core")];
    await core.declare([QUEUE]);
    const dead = await deadLetters(core);
    const seen = rejecting(({ messageId }) => (messageId === "a:1" ? new Error("a bug") : undefined));
    await core.subscribe(QUEUE, { ...seen, keyOf });
    const failing = ["a:0", "a:1", "a:2"].map((id) => outcome(bus.publish(message(id))));
    const alone = () => seen.batches.filter((batch) => batch.length === 1 && batch[0] === "a:1").length;
    await eventually(harness, "it has failed alone many times", () => alone() > 20);
    expect(dead.ids).toEqual([]);
    for (let at = 0; dead.ids.length === 0 && at < 1_000; at++) {
      const tried = alone();
      await bus.publish(message(`b:${at}`));
      await eventually(harness, "it is tried again", () => dead.ids.length > 0 || alone() > tried);
    }
    expect(dead.ids).toEqual(["a:1"]);
    expect(dead.deliveries[0]?.death).toMatchObject({ code: "internal", queue: QUEUE.name });
    await eventually(harness, "its key goes on", () => seen.done.includes("a:2"));
    expect(seen.done.filter((id) => id.startsWith("a"))).toEqual(["a:0", "a:2"]);
    await Promise.all(failing);
  },

  "reports what fails alone again and again, holding only its own key, until a person gives it up": async (
    harness,
  ) => {
    const [bus, core] = [await harness.connect("irc"), await harness.connect("core")];
    await core.declare([QUEUE]);
    const dead = await deadLetters(core);
    const seen = rejecting(({ messageId }) =>
      messageId === "a:1" ? new FabricError("vault.conflict", "elsewhere") : undefined,
    );
    await core.subscribe(QUEUE, { ...seen, keyOf });
    const publishes = ["a:1", "a:2", "b:1"].map((id) => outcome(bus.publish(message(id))));
    await eventually(harness, "it is reported", () => (core.health().stuck ?? []).length > 0);
    expect(core.health().stuck).toMatchObject([
      { queue: QUEUE.name, messageId: "a:1", code: "vault.conflict" },
    ]);
    await eventually(harness, "another key passes", () => seen.done.includes("b:1"));
    expect([seen.done, core.giveUp(QUEUE.name, "b:1"), core.giveUp("other", "a:1")]).toEqual([
      ["b:1"],
      false,
      false,
    ]);
    await eventually(harness, "it is given up", () => core.giveUp(QUEUE.name, "a:1"));
    await eventually(harness, "it is a dead letter", () => dead.ids.length > 0);
    expect(dead.deliveries[0]).toMatchObject({
      messageId: "a:1",
      death: { code: "internal", queue: QUEUE.name },
    });
    await eventually(harness, "its key goes on", () => seen.done.includes("a:2"));
    await eventually(harness, "nothing is stuck", () => core.health().stuck === undefined);
    await Promise.all(publishes);
  },

  "takes a wrong number of verdicts for a rejection": async (harness) => {
    const [bus, core] = [await harness.connect("irc"), await harness.connect("core")];
    await core.declare([QUEUE]);
    let calls = 0;
    const seen = recorder();
    await core.subscribe(QUEUE, {
      handle: async (batch) => (++calls === 1 ? [] : seen.handle(batch)),
    });
    await publishAll(bus, ids(3));
    await eventually(harness, "all are done", () => unique(seen.ids).length === 3);
    expect(seen.ids).toEqual(ids(3));
  },

  "never dead-letters a dead letter again": async (harness) => {
    const [bus, core] = [await harness.connect("irc"), await harness.connect("core")];
    await core.declare([QUEUE]);
    const dead = recorder(({ attempt }) => (attempt < 3 ? { do: "dead", code: "envelope.schema" } : ACK));
    await core.subscribe(DEAD_LETTERS, dead);
    await core.subscribe(
      QUEUE,
      recorder(() => ({ do: "dead", code: "envelope.expired" })),
    );
    const publish = outcome(bus.publish(message("a")));
    await eventually(harness, "it is kept in the end", () => dead.ids.length === 3);
    expect(dead.deliveries.map(({ death }) => death?.code)).toEqual(Array(3).fill("envelope.expired"));
    expect(await publish).toBe("confirmed");
  },
};

async function deadLetters(bus: Bus): Promise<Recorder> {
  const dead = recorder();
  await bus.declare([DEAD_LETTERS]);
  await bus.subscribe(DEAD_LETTERS, dead);
  return dead;
}

/** All or nothing, as a transaction is: rejects the batch if any of it is faulty. */
function rejecting(fault: (delivery: Delivery) => Error | undefined) {
  const [done, batches]: [string[], string[][]] = [[], []];
  return {
    done,
    batches,
    async handle(batch: readonly Prepared<undefined>[]): Promise<Verdict[]> {
      const named = batch.map(({ delivery }) => delivery.messageId ?? "");
      batches.push(named);
      for (const { delivery } of batch) {
        const error = fault(delivery);
        if (error !== undefined) throw error;
      }
      done.push(...named);
      return batch.map(() => ACK);
    },
  };
}

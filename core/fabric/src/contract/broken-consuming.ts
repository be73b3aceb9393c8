/** Drivers that consume, retry or dead-letter wrongly. */
import { FabricError } from "@linkspan/envelopes";
import {
  ACK,
  DEAD_LETTERS,
  type Handler,
  type Prepared,
  type QueueSpec,
  type SubscribeOptions,
  type Verdict,
} from "../bus.ts";
import { type BrokenDrivers, handling, republish, subscribing } from "./breaks.ts";

export const BROKEN_CONSUMING: BrokenDrivers = {
  "acks before it handles": {
    ...handling((handle) => async (batch) => {
      void handle(batch).catch(() => undefined);
      return batch.map(() => ACK);
    }),
    fails: [
      "settles only after the handler has decided",
      "delivers again, in order, what a crashed consumer left",
      "drops a decision about deliveries of a lost connection",
    ],
  },
  "handles batches in parallel": {
    bus: (good) => ({
      async subscribe<P>(queue: QueueSpec, handler: Handler<P>, options?: SubscribeOptions) {
        const shared: QueueSpec = { ...queue, name: `${queue.name}.parallel`, kind: "shared" };
        await good.declare([shared]);
        await good.subscribe<P>(shared, handler, options);
        return good.subscribe<P>(queue, handler, options);
      },
    }),
    fails: ["handles one batch at a time, none larger than asked for"],
  },
  "ignores the size of batches": {
    ...subscribing((_, { maxBatch: _ignored, ...options }) => ({ options })),
    fails: ["handles one batch at a time, none larger than asked for"],
  },
  "prepares only when it handles": {
    bus: (good) => ({
      subscribe<P>(queue: QueueSpec, handler: Handler<P>, options?: SubscribeOptions) {
        const handle = async (batch: readonly Prepared<P>[]): Promise<readonly Verdict[]> => {
          const values = await handler.prepare?.(batch.map(({ delivery }) => delivery));
          return handler.handle(batch.map((item, at) => ({ ...item, value: values?.[at] as P })));
        };
        return good.subscribe<P>(queue, { handle }, options);
      },
    }),
    fails: ["prepares the next batch while one is handled"],
  },
  "shares partitions": {
    ...subscribing((queue) => ({
      queue: queue.kind === "partition" ? { ...queue, kind: "shared" } : queue,
    })),
    fails: ["gives a partition to one consumer; another waits and takes over"],
  },
  "gives shared queues to one": {
    ...subscribing((queue) => ({ queue: queue.kind === "shared" ? { ...queue, kind: "partition" } : queue })),
    fails: ["hands each message of a shared queue to one consumer"],
  },
  "keeps transient queues": {
    bus: (good) => ({
      async subscribe<P>(queue: QueueSpec, handler: Handler<P>, options?: SubscribeOptions) {
        const kept: QueueSpec = queue.kind === "transient" ? { ...queue, kind: "shared" } : queue;
        await good.declare([kept]);
        return good.subscribe<P>(kept, handler, options);
      },
    }),
    fails: [
      "lets a transient queue live with its subscriber",
      "declares again without effect, and knows what is not declared",
    ],
  },
  "takes in without a bound": {
    ...subscribing((_, { maxInFlight: _count, maxBytes: _bytes, ...options }) => ({
      options: { ...options, maxInFlight: 1e9, maxBytes: 1e12 },
    })),
    fails: ["bounds what is in flight by count", "bounds what is in flight by bytes"],
  },
  "drains without waiting": {
    bus: (good) => ({
      async subscribe<P>(queue: QueueSpec, handler: Handler<P>, options?: SubscribeOptions) {
        const subscription = await good.subscribe<P>(queue, handler, options);
        const drain = (): Promise<void> => Promise.resolve();
        return { queue: subscription.queue, drain, [Symbol.asyncDispose]: drain };
      },
    }),
    fails: ["drains: finishes and settles the current batch, and leaves the rest"],
  },
  "retries by putting it behind the others": {
    ...handling((handle, good) => async (batch) => {
      const verdicts = await handle(batch);
      return verdicts.map((verdict, at) => {
        const item = batch[at];
        if (verdict.do !== "retry" || item === undefined) return verdict;
        republish(good, item.delivery);
        return ACK;
      });
    }),
    fails: [
      "holds only its own key for a retry; others pass, and no key is reordered",
      "holds the whole queue where there are no keys",
    ],
  },
  "holds everything for a retry": {
    bus: (good) => ({
      subscribe<P>(queue: QueueSpec, handler: Handler<P>, options?: SubscribeOptions) {
        return good.subscribe<P>(queue, { handle: (batch) => handler.handle(batch) }, options);
      },
    }),
    fails: ["holds only its own key for a retry; others pass, and no key is reordered"],
  },
  "holds single messages only": {
    bus: (good) => ({
      subscribe<P>(queue: QueueSpec, handler: Handler<P>, options?: SubscribeOptions) {
        const keyOf = ({ delivery }: Prepared<P>): string => delivery.messageId ?? "";
        return good.subscribe<P>(queue, { ...handler, keyOf }, options);
      },
    }),
    fails: ["holds the whole queue where there are no keys"],
  },
  "does not wait for a later decision": {
    ...handling((handle) => async (batch) => {
      const verdicts = await handle(batch);
      return verdicts.map((verdict) => (verdict.do === "later" ? ACK : verdict));
    }),
    fails: ["waits with a key until its handler decides; others pass, and nothing is handed over twice"],
  },
  "drops the dead": {
    ...handling((handle) => async (batch) => {
      const verdicts = await handle(batch);
      return verdicts.map((verdict) => (verdict.do === "dead" ? ACK : verdict));
    }),
    fails: [
      "keeps what a handler declares dead among the dead letters, with its code, headers and bytes",
      "never dead-letters a dead letter again",
    ],
  },
  "dead-letters the other messages of a failed batch": {
    ...handling((handle) => async (batch) => {
      try {
        return await handle(batch);
      } catch (error) {
        if (!(error instanceof FabricError)) throw error;
        return batch.map(() => ({ do: "dead", code: error.code }));
      }
    }),
    fails: [
      "tries a rejected batch again whole, then in halves, until only the message at fault is dead-lettered",
      "waits an outage out: nothing is dead-lettered because of it",
    ],
  },
  "never gives up": {
    ...handling((handle) => async (batch) => {
      try {
        return await handle(batch);
      } catch (cause) {
        throw new FabricError("internal", "again", { cause });
      }
    }),
    fails: [
      "tries a rejected batch again whole, then in halves, until only the message at fault is dead-lettered",
      "blames a message for an unknown error only when others succeed between its failures",
    ],
  },
  "gives up at the first failure": {
    ...handling((handle, _, queue) => async (batch) => {
      try {
        return await handle(batch);
      } catch (error) {
        if (batch.length > 1 || queue.name === DEAD_LETTERS.name) throw error;
        return [{ do: "dead", code: "bus.rejected" }];
      }
    }),
    fails: [
      "waits an outage out: nothing is dead-lettered because of it",
      "blames a message for an unknown error only when others succeed between its failures",
    ],
  },
};

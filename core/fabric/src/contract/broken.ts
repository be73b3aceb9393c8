/** Drivers that each break one obligation, made from a good one; a case is worth what it finds in these. */
import { FabricError } from "@linkspan/envelopes";
import {
  ACK,
  type Bus,
  DEAD_LETTERS,
  type Delivery,
  type Handler,
  type Outgoing,
  type Prepared,
  type QueueSpec,
  type SubscribeOptions,
  type Subscription,
  type Verdict,
} from "../bus.ts";
import type { BusHarness } from "./case.ts";

/** What a broken driver does differently; everything else is the good one's. */
export interface Break {
  readonly bus?: (good: Bus) => Partial<Bus>;
  readonly harness?: (good: BusHarness, goodBus: (broken: Bus) => Bus) => Partial<BusHarness>;
}

export function broken(harness: BusHarness, { bus: alter, harness: alterHarness }: Break): BusHarness {
  const goods = new Map<Bus, Bus>();
  const goodBus = (bus: Bus): Bus => goods.get(bus) ?? bus;
  const base: BusHarness = {
    ...(harness.patienceMs === undefined ? {} : { patienceMs: harness.patienceMs }),
    async connect(service) {
      const good = await harness.connect(service);
      const bad = altered(good, alter?.(good) ?? {});
      goods.set(bad, good);
      return bad;
    },
    cut: (bus) => harness.cut(goodBus(bus)),
    crash: (bus) => harness.crash(goodBus(bus)),
    leftovers: () => harness.leftovers(),
    [Symbol.asyncDispose]: () => harness[Symbol.asyncDispose](),
  };
  return { ...base, ...alterHarness?.(harness, goodBus) };
}

function altered(good: Bus, bad: Partial<Bus>): Bus {
  return {
    declare: (queues) => good.declare(queues),
    publish: (message, options) => good.publish(message, options),
    subscribe: (queue, handler, options) => good.subscribe(queue, handler, options),
    request: (message, options) => good.request(message, options),
    reply: (to, message) => good.reply(to, message),
    giveUp: (queue, messageId) => good.giveUp(queue, messageId),
    health: () => good.health(),
    [Symbol.asyncDispose]: () => good[Symbol.asyncDispose](),
    ...bad,
  };
}

type Handle = (batch: readonly Prepared<unknown>[]) => Promise<readonly Verdict[]>;

/** A driver that calls the handler in its own way. */
function handling(change: (handle: Handle, good: Bus, queue: QueueSpec) => Handle): Break {
  return {
    bus: (good) => ({
      subscribe<P>(queue: QueueSpec, handler: Handler<P>, options?: SubscribeOptions): Promise<Subscription> {
        const handle = change((batch) => handler.handle(batch as readonly Prepared<P>[]), good, queue);
        return good.subscribe<P>(queue, { ...handler, handle }, options);
      },
    }),
  };
}

function subscribing(
  change: (queue: QueueSpec, options: SubscribeOptions) => { queue?: QueueSpec; options?: SubscribeOptions },
): Break {
  return {
    bus: (good) => ({
      declare: (queues) => good.declare(queues.map((queue) => change(queue, {}).queue ?? queue)),
      subscribe<P>(
        queue: QueueSpec,
        handler: Handler<P>,
        options: SubscribeOptions = {},
      ): Promise<Subscription> {
        const changed = change(queue, options);
        return good.subscribe<P>(changed.queue ?? queue, handler, changed.options ?? options);
      },
    }),
  };
}

function publishing(change: (good: Bus, message: Outgoing) => Promise<void>): Break {
  return { bus: (good) => ({ publish: (message) => change(good, message) }) };
}

/** The same message again, behind everything that waits. */
function republish(good: Bus, { route, body, messageId = "" }: Delivery): void {
  void good.publish({ route, body, messageId }).catch(() => undefined);
}

function swallow(code: string): (error: unknown) => void {
  return (error) => {
    if (!(error instanceof FabricError) || error.code !== code) throw error;
  };
}

/** Each breaks the cases named; nothing else is claimed of it. */
export const BROKEN: Readonly<Record<string, Break & { readonly fails: readonly string[] }>> = {
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
  "confirms early": {
    ...publishing(async (good, message) => {
      void good.publish(message).catch(() => undefined);
    }),
    fails: [
      "keeps what is confirmed when the publisher is gone",
      "reports a mandatory message that no queue takes, and only that",
    ],
  },
  "swallows the unroutable": {
    ...publishing((good, message) => good.publish(message).catch(swallow("bus.unroutable"))),
    fails: ["reports a mandatory message that no queue takes, and only that"],
  },
  "publishes on any route": {
    ...publishing((good, message) => good.publish(message).catch(swallow("topic.malformed"))),
    fails: ["refuses to publish on a malformed route"],
  },
  "publishes in any order": {
    bus: (good) => {
      let count = 0;
      return {
        async publish(message) {
          if (++count % 3 === 0) await new Promise((resolve) => setTimeout(resolve, 3));
          await good.publish(message);
        },
      };
    },
    fails: ["keeps the order of publication without waiting in between"],
  },
  "ignores the signal of a publish": {
    ...publishing((good, message) => good.publish({ ...message, mandatory: false })),
    fails: ["gives a publish up when its signal says so"],
  },
  "drops headers": {
    ...publishing((good, { route, body, messageId }) => good.publish({ route, body, messageId })),
    fails: ["carries bytes and headers unchanged", "drops what is older than its time to live"],
  },
  "forgets the unconfirmed at a reconnect": {
    harness: (good, goodBus) => ({ cut: (bus) => good.crash(goodBus(bus)) }),
    fails: [
      "sends the unconfirmed again after a lost connection, in order, before newer ones",
      "drops a decision about deliveries of a lost connection",
      "still answers after a lost connection",
    ],
  },
  "does not close": {
    bus: () => ({ [Symbol.asyncDispose]: () => Promise.resolve() }),
    fails: ["refuses everything once closed"],
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
    fails: ["drains: finishes what is in hand, settles it, and leaves the rest"],
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
  "kills a poisonous message's neighbours": {
    ...handling((handle) => async (batch) => {
      try {
        return await handle(batch);
      } catch (error) {
        if (!(error instanceof FabricError)) throw error;
        return batch.map(() => ({ do: "dead", code: error.code }));
      }
    }),
    fails: [
      "tries a rejected batch again whole, then in halves, until only the guilty one dies",
      "waits an outage out: nothing dies for it",
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
      "tries a rejected batch again whole, then in halves, until only the guilty one dies",
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
      "waits an outage out: nothing dies for it",
      "blames a message for an unknown error only when others succeed between its failures",
    ],
  },
  "keeps trying what it rejected": {
    bus: (good) => ({
      subscribe<P>(queue: QueueSpec, handler: Handler<P>, options?: SubscribeOptions) {
        const again = (): void => {
          const timer = setInterval(() => {
            good.subscribe<P>(queue, handler, options).then(
              () => clearInterval(timer),
              () => undefined,
            );
          }, 1);
          setTimeout(() => clearInterval(timer), 1_000);
        };
        const first = good.subscribe<P>(queue, handler, options);
        first.catch(again);
        return first;
      },
    }),
    fails: ["does not bring a rejected subscription back when its queue is declared"],
  },
  "keeps a consumer of a failed attempt": {
    bus: (good) => ({
      async subscribe<P>(queue: QueueSpec, handler: Handler<P>, options?: SubscribeOptions) {
        try {
          return await good.subscribe<P>(queue, handler, options);
        } catch (error) {
          await good.subscribe<P>({ name: "kept", kind: "transient", bindings: [] }, handler, options);
          throw error;
        }
      },
    }),
    fails: ["leaves nothing of an attempt that fails, times out or is called off"],
  },
  "stays connected when it is closed": {
    bus: () => ({ [Symbol.asyncDispose]: () => Promise.resolve() }),
    fails: ["leaves nothing of a client that is closed in the middle of its attempts"],
  },
  "does not say what is stuck": {
    bus: (good) => ({
      health() {
        const { state } = good.health();
        return { state };
      },
    }),
    fails: ["reports what fails alone again and again, holding only its own key, until a person gives it up"],
  },
  "gives nothing up": {
    bus: () => ({ giveUp: () => false }),
    fails: ["reports what fails alone again and again, holding only its own key, until a person gives it up"],
  },
  "fills in missing verdicts": {
    ...handling((handle) => async (batch) => {
      const verdicts = await handle(batch);
      return batch.map((_, at) => verdicts[at] ?? ACK);
    }),
    fails: ["takes a wrong number of verdicts for a rejection"],
  },
  "loses what an answer answers": {
    bus: (good) => ({ reply: (to, { inReplyTo: _ignored, ...message }) => good.reply(to, message) }),
    fails: [
      "brings each request its own answer",
      "lets each side relate an answer to its request by the correlation id, beside ours",
      "still answers after a lost connection",
    ],
  },
  "forgets the correlation id of an answer": {
    bus: (good) => ({ reply: (to, { correlationId: _ignored, ...message }) => good.reply(to, message) }),
    fails: [
      "lets each side relate an answer to its request by the correlation id, beside ours",
      "takes an answer that only repeats the correlation id",
    ],
  },
  "waits for ever for an answer": {
    bus: (good) => ({ request: (message) => good.request(message, { timeoutMs: 1e8 }) }),
    fails: ["lets a request time out, be called off, or find nobody"],
  },
  "insists on somebody who waits for the answer": {
    bus: (good) => ({
      async reply(to, message) {
        await good.publish({ ...message, route: { ...message.route, service: "nobody" } });
        await good.reply(to, message);
      },
    }),
    fails: ["takes an answer to nobody for granted"],
  },
  "answers to any address": {
    bus: (good) => ({ reply: (to, message) => good.reply(to, message).catch(swallow("topic.malformed")) }),
    fails: ["answers to return addresses only"],
  },
};

/** Drivers that publish, request or connect wrongly. */
import { ACK, type Handler, type QueueSpec, type SubscribeOptions } from "../bus.ts";
import { type BrokenDrivers, handling, publishing, swallow } from "./breaks.ts";

export const BROKEN_SENDING: BrokenDrivers = {
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
  "tells of every message that it left": {
    bus: (good) => ({
      publish(message, options) {
        options?.onWritten?.();
        return good.publish(message, options);
      },
    }),
    fails: ["tells when a message leaves, and nothing of one that is refused or called off"],
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

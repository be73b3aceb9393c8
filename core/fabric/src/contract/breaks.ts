/** Makes a broken driver out of a good one: everything is the good one's but what a {@link Break} changes. */
import { FabricError } from "@linkspan/envelopes";
import type {
  Bus,
  Delivery,
  Handler,
  Outgoing,
  Prepared,
  QueueSpec,
  SubscribeOptions,
  Subscription,
  Verdict,
} from "../bus.ts";
import type { BusHarness } from "./case.ts";

/** Methods that a broken driver replaces; the others are the good one's. */
export interface Break {
  readonly bus?: (good: Bus) => Partial<Bus>;
  readonly harness?: (good: BusHarness, goodBus: (broken: Bus) => Bus) => Partial<BusHarness>;
}

/** By what is wrong; each fails the cases named, and nothing else is claimed of it. */
export type BrokenDrivers = Readonly<Record<string, Break & { readonly fails: readonly string[] }>>;

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

export type Handle = (batch: readonly Prepared<unknown>[]) => Promise<readonly Verdict[]>;

/** A driver that calls the handler in its own way. */
export function handling(change: (handle: Handle, good: Bus, queue: QueueSpec) => Handle): Break {
  return {
    bus: (good) => ({
      subscribe<P>(queue: QueueSpec, handler: Handler<P>, options?: SubscribeOptions): Promise<Subscription> {
        const handle = change((batch) => handler.handle(batch as readonly Prepared<P>[]), good, queue);
        return good.subscribe<P>(queue, { ...handler, handle }, options);
      },
    }),
  };
}

export function subscribing(
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

export function publishing(change: (good: Bus, message: Outgoing) => Promise<void>): Break {
  return { bus: (good) => ({ publish: (message) => change(good, message) }) };
}

/** The same message again, behind everything that waits. */
export function republish(good: Bus, { route, body, messageId = "" }: Delivery): void {
  void good.publish({ route, body, messageId }).catch(() => undefined);
}

export function swallow(code: string): (error: unknown) => void {
  return (error) => {
    if (!(error instanceof FabricError) || error.code !== code) throw error;
  };
}

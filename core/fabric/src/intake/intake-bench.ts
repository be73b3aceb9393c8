/** An intake without a broker, in virtual time. For tests. */
import type { BusEvent } from "../events.ts";
import type { Death, Delivery, Handler } from "../bus.ts";
import { seededRandom, VirtualClock } from "../virtual-clock.ts";
import { Intake } from "./intake.ts";
import { type IntakeOptions, limitsOf } from "./options.ts";
import type { Item, MutableDelivery } from "./item.ts";

export function delivery(id: string): MutableDelivery {
  return {
    route: { service: "irc", instance: "primary", action: "inbound_event", partition: 0 },
    body: Buffer.from(id),
    kid: undefined,
    sig: undefined,
    messageId: id,
    inReplyTo: undefined,
    correlationId: undefined,
    replyTo: undefined,
    traceparent: undefined,
    redelivered: false,
    attempt: 0,
    death: undefined,
  };
}

/** An intake without a broker: what it settles and dead-letters is written down. */
export function bench<P>(handler: Handler<P>, rest: Partial<IntakeOptions<P>> = {}) {
  const clock = new VirtualClock(1);
  const settled: string[] = [];
  const deadLettered: (Death & { readonly id: string | undefined })[] = [];
  const events: BusEvent[] = [];
  const outlet = {
    settle: (items: readonly Item<P>[]) => {
      settled.push(...items.map((item) => item.delivery.messageId ?? ""));
    },
    deadLetter: async (item: Item<P>, death: Death) => {
      deadLettered.push({ ...death, id: item.delivery.messageId });
    },
  };
  const intake = new Intake<P>({
    queue: "q",
    handler,
    limits: limitsOf(),
    outlet,
    clock,
    random: seededRandom(2),
    deadLetters: true,
    listener: (event) => events.push(event),
    ...rest,
  });
  let tags = 0;
  const push = (...ids: string[]): void => {
    for (const id of ids) intake.push(delivery(id), ++tags);
  };
  return { clock, intake, settled, deadLettered, events, outlet, push };
}

export const idOf = ({ delivery }: { readonly delivery: Delivery }): string => delivery.messageId ?? "";
export const keyOf = (item: { readonly delivery: Delivery }): string => idOf(item).split(":")[0] ?? "";
export const ids = (count: number, prefix = ""): string[] =>
  Array.from({ length: count }, (_, at) => prefix + at);

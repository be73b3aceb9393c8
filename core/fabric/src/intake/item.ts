import type { Delivery, Prepared } from "../bus.ts";
import type { Failures } from "./proof.ts";

/** The driver fills it; only the intake counts `attempt` up. */
export type MutableDelivery = { -readonly [K in keyof Delivery]: Delivery[K] };

/** One delivery on its way through the intake; it is itself what the handler sees as `Prepared`. */
export class Item<P> implements Prepared<P> {
  readonly delivery: MutableDelivery;
  /** The tag by which the driver settles it. */
  readonly tag: number;
  /** Rises with every arrival; the order within a key. */
  readonly order: number;
  value!: P;
  prepared = false;
  key: string | undefined = undefined;
  /** Since it was first rejected alone. */
  failures: Failures | undefined = undefined;

  constructor(delivery: MutableDelivery, tag: number, order: number) {
    this.delivery = delivery;
    this.tag = tag;
    this.order = order;
  }
}

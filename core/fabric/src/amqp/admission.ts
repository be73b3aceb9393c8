/**
 * Whether a message came to a queue by one of the queue's own bindings. Headers (CC, BCC) and the default exchange
 * bring a message to queues that its routing key does not lead to, past the topic permissions of a broker before
 * version 4; the key that it shows is then not one of this queue.
 */
import { FabricError, type Route } from "@linkspan/envelopes";
import type { Message } from "amqplib";
import { matches } from "../binding.ts";
import type { Binding } from "../bus.ts";
import { MAX_BODY_BYTES } from "../headers.ts";
import { EXCHANGE } from "./wire.ts";

const MAX_KNOWN = 10_000;

export class Admission {
  readonly #bindings: () => readonly Binding[];
  /** Keys that were admitted before. */
  readonly #known = new Set<string>();

  constructor(bindings: () => readonly Binding[]) {
    this.#bindings = bindings;
  }

  /** @throws FabricError `envelope.misrouted`, `envelope.too_large` */
  check({ content, fields }: Message, route: Route): void {
    if (content.length > MAX_BODY_BYTES) {
      throw new FabricError("envelope.too_large", `a message of ${content.length} bytes`);
    }
    const { exchange, routingKey } = fields;
    if (exchange === EXCHANGE && this.#known.has(routingKey)) return;
    if (exchange !== EXCHANGE || !this.#bindings().some((binding) => matches(binding, route))) {
      throw new FabricError("envelope.misrouted", "it came to a queue that its routing key does not lead to");
    }
    if (this.#known.size >= MAX_KNOWN) this.#known.clear();
    this.#known.add(routingKey);
  }
}

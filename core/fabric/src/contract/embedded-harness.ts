import { EmbeddedBroker } from "../embedded/broker.ts";
import { EmbeddedBus } from "../embedded/bus.ts";
import type { BusHarness } from "./case.ts";

export const IMPATIENT = {
  outage: { minMs: 1, maxMs: 5 },
  alone: { minMs: 1, maxMs: 5 },
  proof: { failures: 3, overMs: 20 },
  reportAfter: 2,
};

export function embeddedHarness(patienceMs = 2_000): BusHarness {
  const broker = new EmbeddedBroker({ patience: IMPATIENT });
  const clients: EmbeddedBus[] = [];
  return {
    patienceMs,
    async connect(service) {
      const bus = broker.connect(service);
      clients.push(bus);
      return bus;
    },
    async cut(bus) {
      if (bus instanceof EmbeddedBus) bus.drop();
    },
    async crash(bus) {
      if (bus instanceof EmbeddedBus) bus.kill();
    },
    async [Symbol.asyncDispose]() {
      for (const bus of clients) bus.kill();
    },
  };
}

import { EmbeddedBroker } from "../embedded/broker.ts";
import { EmbeddedBus } from "../embedded/bus.ts";
import type { BusHarness } from "./case.ts";
import { CountingClock } from "./counting-clock.ts";

export const IMPATIENT = {
  outage: { minMs: 1, maxMs: 5 },
  alone: { minMs: 1, maxMs: 5 },
  proof: { failures: 3, overMs: 20 },
  reportAfter: 2,
};

export function embeddedHarness(patienceMs = 2_000): BusHarness {
  const clock = new CountingClock();
  const broker = new EmbeddedBroker({ patience: IMPATIENT, clock });
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
    async leftovers() {
      const { consumers, queues, clients: connections } = broker.counts;
      return { timers: clock.pending, consumers, queues, connections, channels: 0 };
    },
    async [Symbol.asyncDispose]() {
      for (const bus of clients) bus.kill();
    },
  };
}

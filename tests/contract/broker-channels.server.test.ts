/** Connections that are lost while a channel is being replaced: afterwards there is one channel of each kind. */
import type { BusEvent } from "@linkspan/fabric";
import { type Clock, systemClock } from "@linkspan/time";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { describeWithServers } from "../servers/available.ts";
import { startFaultProxy } from "../servers/fault-proxy.ts";
import { type RabbitmqServer, startRabbitmq } from "../servers/rabbitmq.ts";
import { until } from "../servers/until.ts";
import { client, collecting, message, namespace, QUEUE } from "./broker-clients.ts";

/** How long the bus waits for the answer to a close. */
const CLOSE_MS = 3_000;
const LARGE = Buffer.alloc(600_000);

describeWithServers(["rabbitmq"], "a connection that is lost while a channel is replaced:", () => {
  let server: RabbitmqServer;
  beforeAll(async () => {
    server = await startRabbitmq();
  });
  afterAll(() => server[Symbol.asyncDispose]());

  async function behindProxy(rest: Parameters<typeof client>[2]) {
    const vhost = await namespace(server);
    const proxy = await startFaultProxy({ port: server.port });
    onTestFinished(() => proxy[Symbol.asyncDispose]());
    const events: BusEvent[] = [];
    const bus = await client({ url: `amqp://guest:guest@127.0.0.1:${proxy.port}` }, vhost, {
      heartbeatSeconds: 30,
      listener: (event) => events.push(event),
      ...rest,
    });
    await bus.declare([QUEUE]);
    return { vhost, proxy, bus, events };
  }

  const rows = async (...args: string[]): Promise<string[]> =>
    (await server.ctl(...args)).split("\n").filter((line) => line.trim() !== "");

  test("the queue has one consumer, which takes everything", async () => {
    const clock = new NotedClock();
    const { vhost, proxy, bus } = await behindProxy({ clock });
    const seen: string[] = [];
    const opened = Promise.withResolvers<void>();
    const limits = { maxInFlight: 50, maxBytes: 1_048_576 };
    await bus.subscribe(
      QUEUE,
      {
        async handle(batch) {
          seen.push(...batch.map(({ delivery }) => delivery.messageId ?? ""));
          await opened.promise;
          return batch.map(() => ({ do: "ack" as const }));
        },
      },
      limits,
    );
    const publisher = await client(server, vhost);
    // What the consumer says does not arrive: it closes its channel in vain.
    proxy.stall("up");
    await publisher.publish(message("a", { body: LARGE }));
    await until(() => seen.includes("a"), { what: "the first large message" });
    clock.forget();
    await publisher.publish(message("b", { body: LARGE }));
    await until(() => clock.begun.has(CLOSE_MS), { what: "the channel to be closed" });
    proxy.cut();
    proxy.pass();
    opened.resolve();
    await until(() => clock.ended.has(CLOSE_MS), { what: "the close to be given up" });
    await publisher.publish(message("c"));
    const queues = await rows("list_consumers", "-p", vhost, "queue_name");
    expect(queues.filter((line) => line.includes(QUEUE.name))).toHaveLength(1);
    await publisher.publish(message("d"));
    await until(() => seen.includes("c") && seen.includes("d"), { what: "what comes later" });
  });

  test("one channel publishes", async () => {
    const clock = new NotedClock();
    // The connection is back before the channel would have been opened again by itself.
    const { vhost, proxy, bus } = await behindProxy({
      clock,
      random: () => 0.999,
      reconnect: { minMs: 1, maxMs: 10 },
    });
    const seen: string[] = [];
    await bus.subscribe(QUEUE, collecting(seen));
    await bus.publish(message("a"));
    clock.forget();
    proxy.cut();
    await until(() => [...clock.ended].some((ms) => ms > 90 && ms <= 100), { what: "the channel's turn" });
    await bus.publish(message("b"));
    await until(() => seen.includes("b"), { what: "the message" });
    const channels = await rows("list_channels", "-p", vhost, "confirm");
    expect(channels.filter((line) => line.includes("true"))).toHaveLength(1);
  });
});

/** The system's clock, which notes its timers by their length. */
class NotedClock implements Clock {
  readonly begun = new Set<number>();
  readonly ended = new Set<number>();

  forget(): void {
    this.begun.clear();
    this.ended.clear();
  }

  now(): number {
    return systemClock.now();
  }

  after(afterMs: number, run: () => void): () => void {
    this.begun.add(afterMs);
    return systemClock.after(afterMs, () => {
      this.ended.add(afterMs);
      run();
    });
  }
}

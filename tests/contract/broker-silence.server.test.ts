/** A broker that is connected and silent: everything ends in time, is noticed, and leaves nothing. */
import type { BusEvent, QueueSpec } from "@linkspan/fabric";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { describeWithServers } from "../servers/available.ts";
import { startFaultProxy } from "../servers/fault-proxy.ts";
import { type RabbitmqServer, startRabbitmq } from "../servers/rabbitmq.ts";
import { until } from "../servers/until.ts";
import { client, collecting, message, namespace, outcome, QUEUE } from "./broker-clients.ts";

const NOTES: QueueSpec = { name: "irc.notes", kind: "transient", bindings: [{ action: "changed" }] };
const HELLO = { service: "core", instance: "primary", action: "hello", partition: 0 };

describeWithServers(["rabbitmq"], "a silent broker:", () => {
  let server: RabbitmqServer;
  beforeAll(async () => {
    server = await startRabbitmq();
  });
  afterAll(() => server[Symbol.asyncDispose]());

  async function behindProxy(heartbeatSeconds: number) {
    const vhost = await namespace(server);
    const proxy = await startFaultProxy({ port: server.port });
    onTestFinished(() => proxy[Symbol.asyncDispose]());
    const events: BusEvent[] = [];
    const bus = await client({ url: `amqp://guest:guest@127.0.0.1:${proxy.port}` }, vhost, {
      heartbeatSeconds,
      listener: (event) => events.push(event),
    });
    await bus.declare([QUEUE]);
    const seen: string[] = [];
    await bus.subscribe(QUEUE, collecting(seen));
    return { vhost, proxy, bus, seen, events };
  }

  test("connections that carry nothing any more are noticed by their heartbeats, and all goes on", async () => {
    const { proxy, bus, seen } = await behindProxy(1);
    proxy.stall();
    const startedAt = performance.now();
    const publishing = outcome(bus.publish(message("a")));
    await until(() => bus.health().state === "reconnecting", { what: "the bus to notice" });
    expect(performance.now() - startedAt).toBeLessThan(8_000);
    proxy.pass();
    expect(await publishing).toBe("confirmed");
    await until(() => seen.includes("a") && bus.health().state === "up", { what: "the message" });
  });

  test("by default a dead peer is noticed within a quarter of a minute", async () => {
    const { proxy, bus } = await behindProxy(5);
    proxy.stall();
    const startedAt = performance.now();
    await until(() => bus.health().state === "reconnecting", { what: "the bus to notice" });
    expect(performance.now() - startedAt).toBeLessThan(18_000);
  });

  test("calls end in time, with a code", async () => {
    const { proxy, bus } = await behindProxy(30);
    proxy.stall();
    const signal = AbortSignal.timeout(2_000);
    const startedAt = performance.now();
    const outcomes = await Promise.all([
      outcome(bus.declare([QUEUE])),
      outcome(bus.subscribe({ ...QUEUE, name: "irc.other.p00" }, collecting([]))),
      outcome(bus.subscribe(NOTES, collecting([]))),
      outcome(bus.publish(message("a"), { signal })),
      outcome(bus.request({ ...message("b"), route: HELLO }, { timeoutMs: 1_000 })),
    ]);
    expect(outcomes).toEqual(["bus.timeout", "bus.timeout", "bus.timeout", "bus.timeout", "bus.timeout"]);
    expect(performance.now() - startedAt).toBeLessThan(25_000);
  });

  test("closing ends in time, with a handler that waits for the broker, and leaves no connection", async () => {
    const { vhost, proxy, bus } = await behindProxy(30);
    const waiting: QueueSpec = { name: "irc.waiting.p00", kind: "partition", bindings: [{ action: "wait" }] };
    await bus.declare([waiting]);
    let entered = false;
    await bus.subscribe(waiting, {
      async handle(batch) {
        entered = true;
        proxy.stall();
        await bus.publish(message("never confirmed"));
        return batch.map(() => ({ do: "ack" }));
      },
    });
    await bus.publish(message("a", { route: { ...HELLO, service: "irc", action: "wait" } }));
    await until(() => entered, { what: "the handler" });
    const startedAt = performance.now();
    await bus[Symbol.asyncDispose]();
    expect(performance.now() - startedAt).toBeLessThan(16_000);
    proxy.cut();
    const connections = async (): Promise<string> =>
      server.eval(`length(rabbit_connection_tracking:list(<<"${vhost}">>))`);
    await until(async () => /\b0\b/.test(await connections()), { what: "the broker to know" });
    expect(proxy.connections).toBe(0);
  });
});

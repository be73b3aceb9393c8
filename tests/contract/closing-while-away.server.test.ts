/** What is closed while the other side is away or takes nothing: it ends, and leaves nothing behind. */
import { setTimeout as delay } from "node:timers/promises";
import { AmqpBus, type Outgoing, type QueueSpec } from "@linkspan/fabric";
import { defineJob, type Jobs, openJobs } from "@linkspan/jobs";
import { expect, test, vi } from "vitest";
import { z } from "zod";
import { describeWithServers } from "../servers/available.ts";
import { startPostgres } from "../servers/postgres.ts";
import { startRabbitmq } from "../servers/rabbitmq.ts";
import { startRedis } from "../servers/redis.ts";
import { until } from "../servers/until.ts";

const nothing = () => undefined;
const log = { debug: nothing, info: nothing, warn: nothing, error: nothing };
const NOTED = defineJob("closing.noted", z.strictObject({}));
/** Longer than any wait of ours, shorter than what ends a process by force. */
const WITHIN_MS = 20_000;

async function within(what: string, work: PromiseLike<unknown>): Promise<void> {
  const patience = new AbortController();
  const late = delay(WITHIN_MS, undefined, { signal: patience.signal }).then(() => {
    throw new Error(`${what} did not end within ${WITHIN_MS} ms`);
  });
  try {
    await Promise.race([work, late]);
  } finally {
    patience.abort();
    await late.catch(nothing);
  }
}

/** Network sockets and timers of this process. */
const held = () =>
  process.getActiveResourcesInfo().filter((name) => /^(?:Timeout|TCP|TLS)/.test(name)).length;

async function working(url: string): Promise<Jobs> {
  const jobs = await openJobs({ url, log, queue: "closing" });
  await jobs.work(NOTED, async () => undefined);
  return jobs;
}

for (const [name, program, start] of [
  ["Redis", "redis", startRedis],
  ["PostgreSQL", "postgres", startPostgres],
] as const) {
  describeWithServers([program], `jobs on ${name}`, () => {
    test.each([
      ["killed", "closed"],
      ["killed", "drained and closed"],
      ["stopped by a signal", "closed"],
    ])(
      "whose server is %s are %s all the same",
      async (fault, how) => {
        const before = held();
        // Where a client of Redis reports an error that nobody listens to.
        using reported = vi.spyOn(console, "error").mockImplementation(nothing);
        await using server = await start();
        const jobs = await working(server.url);
        if (fault === "killed") await server.kill();
        else process.kill(server.pid, "SIGSTOP");
        try {
          if (how !== "closed") await within("draining", jobs.drain());
          await within("closing", jobs[Symbol.asyncDispose]());
          await until(() => held() <= before, { what: "nothing that tries to connect again" });
          expect(reported).not.toHaveBeenCalled();
        } finally {
          if (fault !== "killed") process.kill(server.pid, "SIGCONT");
        }
      },
      90_000,
    );
  });
}

const QUEUE: QueueSpec = { name: "irc.work.p00", kind: "partition", bindings: [{ service: "irc" }] };
const message = (id: string): Outgoing => ({
  route: { service: "irc", instance: "primary", action: "inbound_event", partition: 0 },
  body: Buffer.from(id),
  messageId: id,
});

describeWithServers(["rabbitmq"], "the AMQP bus", () => {
  test("closes while the broker takes nothing, and what was not confirmed is told so", async () => {
    await using server = await startRabbitmq();
    const bus = await AmqpBus.connect({ url: server.url, service: "irc", bootId: "b", ownsTopology: true });
    await bus.declare([QUEUE]);
    await server.eval("vm_memory_monitor:set_vm_memory_high_watermark(0.00001)");
    const publishing = bus.publish(message("m")).then(
      () => "confirmed",
      () => "rejected",
    );
    await until(() => bus.health().state === "blocked", { what: "the bus to be blocked" });
    await within("closing", bus[Symbol.asyncDispose]());
    expect(await publishing).toBe("rejected");
  }, 90_000);

  test("a delivery that waits longer than the broker allows comes again, in order, and the consumer goes on", async () => {
    await using server = await startRabbitmq({ config: ["consumer_timeout = 1500"] });
    // How often it looks, a minute otherwise; no setting of the configuration file.
    await server.eval("application:set_env(rabbit, channel_tick_interval, 500)");
    await using bus = await AmqpBus.connect({
      url: server.url,
      service: "irc",
      bootId: "b",
      ownsTopology: true,
      reconnect: { minMs: 50, maxMs: 500 },
    });
    await bus.declare([QUEUE]);
    const seen: string[] = [];
    let open = false;
    const gate = Promise.withResolvers<void>();
    await bus.subscribe(QUEUE, {
      handle: async (batch) => {
        seen.push(...batch.map(({ delivery }) => delivery.messageId ?? ""));
        if (!open) await gate.promise;
        return batch.map(() => ({ do: "ack" as const }));
      },
    });
    for (const id of ["1", "2", "3"]) await bus.publish(message(id));
    await until(() => server.log().includes("timed out"), { what: "the broker to lose its patience" });
    open = true;
    gate.resolve();
    const depth = async () =>
      (await server.ctl("list_queues", "-q", "--no-table-headers", "messages")).trim();
    await until(async () => (await depth()).split(/\s+/).every((count) => count === "0"), {
      what: "an empty queue",
    });
    await bus.publish(message("4"));
    await until(() => seen.includes("4"), { what: "what comes later" });
    const last = ["1", "2", "3", "4"].map((id) => seen.lastIndexOf(id));
    expect(last).toEqual(last.toSorted((a, b) => a - b));
    expect(bus.health().state).toBe("up");
  }, 90_000);
});

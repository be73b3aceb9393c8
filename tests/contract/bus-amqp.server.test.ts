/** The bus contract on a real RabbitMQ, each client behind a proxy of its own that can break its connections. */
import { randomUUID } from "node:crypto";
import { AmqpBus, type Bus, type BusEvent } from "@linkspan/fabric";
import { type BusHarness, busContract, CountingClock } from "@linkspan/fabric/contract";
import { afterAll, beforeAll } from "vitest";
import { describeWithServers } from "../servers/available.ts";
import { type FaultProxy, startFaultProxy } from "../servers/fault-proxy.ts";
import { type RabbitmqServer, startRabbitmq } from "../servers/rabbitmq.ts";

interface Client {
  readonly proxy: FaultProxy;
  readonly events: BusEvent[];
  onEvent: () => void;
}

const IMPATIENT = {
  outage: { minMs: 1, maxMs: 5 },
  alone: { minMs: 1, maxMs: 5 },
  proof: { failures: 3, overMs: 20 },
  reportAfter: 2,
};

async function rabbitHarness(server: RabbitmqServer): Promise<BusHarness> {
  const vhost = randomUUID();
  await server.vhost(vhost);
  const clock = new CountingClock();
  const clients = new Map<Bus, Client>();
  const clientOf = (bus: Bus): Client => {
    const client = clients.get(bus);
    if (client === undefined) throw new Error("not a client of this harness");
    return client;
  };
  return {
    patienceMs: 15_000,
    async connect(service) {
      const proxy = await startFaultProxy({ port: server.port });
      const client: Client = { proxy, events: [], onEvent: () => undefined };
      const bus = await AmqpBus.connect({
        url: `amqp://guest:guest@127.0.0.1:${proxy.port}`,
        vhost,
        service,
        ownsTopology: true,
        bootId: randomUUID(),
        clock,
        confirmTimeoutMs: 5_000,
        patience: IMPATIENT,
        reconnect: { minMs: 20, maxMs: 200 },
        listener: (event) => {
          client.events.push(event);
          client.onEvent();
        },
      });
      clients.set(bus, client);
      return bus;
    },
    async cut(bus) {
      const { proxy } = clientOf(bus);
      const known = bothLinksDown(clientOf(bus));
      proxy.cut();
      await known;
    },
    async crash(bus) {
      const { proxy } = clientOf(bus);
      const known = bothLinksDown(clientOf(bus));
      proxy.refuse();
      await known;
    },
    async leftovers() {
      const answer = await server.eval(
        `V = <<"${vhost}">>,
         Channels = [C || [{pid, C}, {vhost, H}] <- rabbit_channel:info_all([pid, vhost]), H =:= V],
         [length(rabbit_amqqueue:consumers_all(V)), length(rabbit_amqqueue:list(V)), length(Channels),
          length(rabbit_connection_tracking:list(V))]`,
      );
      const [consumers = 0, queues = 0, channels = 0, connections = 0] = (answer.match(/\d+/g) ?? []).map(
        Number,
      );
      return { timers: clock.pending, consumers, queues, channels, connections };
    },
    async [Symbol.asyncDispose]() {
      for (const { proxy } of clients.values()) proxy.pass();
      await Promise.all([...clients.keys()].map((bus) => bus[Symbol.asyncDispose]()));
      await Promise.all([...clients.values()].map(({ proxy }) => proxy[Symbol.asyncDispose]()));
      await server.eval(`ok = rabbit_vhost:delete(<<"${vhost}">>, <<"tests">>)`);
    },
  };
}

function bothLinksDown(client: Client): Promise<void> {
  const from = client.events.length;
  return new Promise((resolve) => {
    client.onEvent = () => {
      const down = new Set(
        client.events.slice(from).flatMap((e) => (e.event === "bus.down" ? [e.link] : [])),
      );
      if (down.size === 2) resolve();
    };
  });
}

describeWithServers(["rabbitmq"], "the AMQP bus keeps the bus contract:", () => {
  let server: RabbitmqServer;
  beforeAll(async () => {
    server = await startRabbitmq();
  });
  afterAll(() => server[Symbol.asyncDispose]());

  busContract(() => rabbitHarness(server));
});

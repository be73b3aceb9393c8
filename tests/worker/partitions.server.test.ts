/** Core workers share the partitions, and move them without losing, doubling or reordering a message. */
import { randomUUID } from "node:crypto";
import { FabricError } from "@linkspan/envelopes";
import { ACK, AmqpBus, type Bus, type Delivery } from "@linkspan/fabric";
import { Database, openNamespace, orphanPartitions } from "@linkspan/store";
import { type Core, inboundQueue, PartitionBalance } from "@linkspan/worker";
import { pino } from "pino";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { describeWithServers } from "../servers/available.ts";
import { type FaultProxy, startFaultProxy } from "../servers/fault-proxy.ts";
import { type PostgresServer, startPostgres } from "../servers/postgres.ts";
import { type RabbitmqServer, startRabbitmq } from "../servers/rabbitmq.ts";
import { until } from "../servers/until.ts";

const PARTITIONS = 8;
const NAMESPACE = "main";

interface TestWorker extends AsyncDisposable {
  readonly name: string;
  readonly balance: PartitionBalance;
  /** Numbers of the messages handled, by partition, in order. */
  readonly handled: number[][];
  /** Whether what it opened may still be taken in, by partition; of the last time that it was opened. */
  readonly owned: (() => boolean)[];
}

describeWithServers(["rabbitmq", "postgres"], "partitions", () => {
  let broker: RabbitmqServer;
  let server: PostgresServer;
  let brokerUrl: string;
  let databaseUrl: string;
  let database: Database;
  let sender: Bus;
  let stack: AsyncDisposableStack;
  let everything: number[][];

  beforeAll(async () => {
    [broker, server] = await Promise.all([startRabbitmq(), startPostgres()]);
  });
  afterAll(async () => {
    await Promise.all([broker?.[Symbol.asyncDispose](), server?.[Symbol.asyncDispose]()]);
  });
  beforeEach(async () => {
    stack = new AsyncDisposableStack();
    const name = randomUUID().replaceAll("-", "");
    brokerUrl = await broker.vhost(name);
    databaseUrl = await server.migratedDatabase(`p${name}`);
    database = stack.use(new Database(databaseUrl));
    await openNamespace(database.pool, NAMESPACE, PARTITIONS);
    sender = stack.use(await connect("irc"));
    everything = Array.from({ length: PARTITIONS }, () => []);
    return () => stack[Symbol.asyncDispose]();
  });

  function connect(service: string): Promise<AmqpBus> {
    return AmqpBus.connect({
      url: brokerUrl,
      vhost: decodeURIComponent(new URL(brokerUrl).pathname.slice(1)),
      service,
      bootId: randomUUID(),
    });
  }

  async function startTestWorker(
    name: string,
    url: string = databaseUrl,
    refused: (partition: number) => boolean = () => false,
  ): Promise<TestWorker> {
    const own = new AsyncDisposableStack();
    const pool = own.use(new Database(url, { maxConnections: 2 }));
    const bus = own.use(await connect("core"));
    await bus.declare(Array.from({ length: PARTITIONS }, (_, partition) => inboundQueue(partition)));
    const handled: number[][] = Array.from({ length: PARTITIONS }, () => []);
    const owned: (() => boolean)[] = [];
    const core = {
      database: pool,
      namespace: { name: NAMESPACE, partitions: PARTITIONS },
      log: pino({ level: "silent" }),
    } as unknown as Core;
    const balance = own.use(
      await PartitionBalance.start(core, {
        worker: name,
        leaseMs: 1_500,
        balanceMs: 100,
        open: async (partition, isOwned) => {
          owned[partition] = isOwned;
          if (refused(partition)) throw new FabricError("bus.timeout", "a queue without a leader");
          return bus.subscribe(inboundQueue(partition), {
            handle: (batch) => {
              for (const { delivery } of batch) {
                handled[partition]?.push(numberOf(delivery));
                everything[partition]?.push(numberOf(delivery));
              }
              return Promise.resolve(batch.map(() => ACK));
            },
          });
        },
      }),
    );
    const worker = { name, balance, handled, owned, [Symbol.asyncDispose]: () => own[Symbol.asyncDispose]() };
    stack.use(worker);
    return worker;
  }

  function numberOf({ body }: Delivery): number {
    return Number(Buffer.from(body).toString());
  }

  async function publish(from: number, to: number): Promise<void> {
    await Promise.all(
      Array.from({ length: to - from }, (_, at) =>
        sender.publish({
          route: {
            service: "irc",
            instance: "primary",
            action: "inbound_event",
            partition: (from + at) % PARTITIONS,
          },
          body: Buffer.from(String(from + at)),
          messageId: `m${from + at}`,
        }),
      ),
    );
  }

  function sizes(workers: readonly TestWorker[]): number[] {
    return workers.map(({ balance }) => balance.partitions.length).sort((a, b) => a - b);
  }

  const total = (worker: TestWorker) => worker.handled.reduce((sum, list) => sum + list.length, 0);
  const count = () => everything.reduce((sum, list) => sum + list.length, 0);

  function expectEachOnceInOrder(upTo: number): void {
    for (const [partition, numbers] of everything.entries()) {
      const sent = Array.from({ length: upTo }, (_, n) => n).filter((n) => n % PARTITIONS === partition);
      expect(numbers).toEqual(sent);
    }
  }

  test("three workers share the work, none below half of its share", async () => {
    const workers = [await startTestWorker("a"), await startTestWorker("b"), await startTestWorker("c")];
    await until(() => sizes(workers).join() === "2,3,3", { what: "the partitions are shared" });
    await publish(0, 800);
    await until(() => count() === 800, { what: "all are handled" });
    for (const worker of workers) expect(total(worker)).toBeGreaterThanOrEqual(800 / 3 / 2);
    expectEachOnceInOrder(800);
  });

  test("partitions move in order while workers come and go under load", async () => {
    const first = await startTestWorker("a");
    expect(first.balance.partitions).toHaveLength(PARTITIONS);
    let next = 0;
    const send = async (): Promise<void> => {
      const from = next;
      next += 200;
      await publish(from, next);
    };
    await send();
    const second = await startTestWorker("b");
    await until(async () => (await send(), sizes([first, second]).join() === "4,4"), { what: "two share" });
    const third = await startTestWorker("c");
    await until(async () => (await send(), sizes([first, second, third]).join() === "2,3,3"), {
      what: "three share",
    });
    await second[Symbol.asyncDispose]();
    await until(async () => (await send(), sizes([first, third]).join() === "4,4"), { what: "two are left" });
    await until(() => count() === next, { what: "all are handled" });
    expectEachOnceInOrder(next);
  });

  test("a worker that cannot reach the database stops its intake, and the others take over", async () => {
    const { hostname, port } = new URL(databaseUrl);
    const proxy: FaultProxy = stack.use(
      await startFaultProxy({ host: hostname === "" ? "127.0.0.1" : hostname, port: Number(port) }),
    );
    const through = new URL(databaseUrl);
    through.hostname = "127.0.0.1";
    through.port = String(proxy.port);
    const lost = await startTestWorker("a", through.toString());
    const other = await startTestWorker("b");
    await until(() => sizes([lost, other]).join() === "4,4", { what: "two share" });
    proxy.stall();
    await until(() => other.balance.partitions.length === PARTITIONS, { what: "the other has all" });
    await until(() => lost.balance.partitions.length === 0, { what: "the lost one takes nothing in" });
    await publish(0, 80);
    await until(() => count() === 80, { what: "all are handled" });
    expect(total(lost)).toBe(0);
    expect(await orphanPartitions(database.pool, NAMESPACE)).toEqual([]);
    proxy.pass();
    await until(() => sizes([lost, other]).join() === "4,4", { what: "they share again" });
  });

  test("what is given back may not be committed any more, also by a batch that draining did not wait for", async () => {
    const first = await startTestWorker("a");
    const before = [...first.owned];
    expect(before.map((isOwned) => isOwned())).toEqual(Array.from({ length: PARTITIONS }, () => true));
    const second = await startTestWorker("b");
    await until(() => sizes([first, second]).join() === "4,4", { what: "two share" });
    const kept = before.flatMap((isOwned, partition) => (isOwned() ? [partition] : []));
    expect(kept).toEqual(first.balance.partitions);
    await first.balance.drain();
    expect(before.some((isOwned) => isOwned())).toBe(false);
  });

  test("a queue that cannot be opened holds up no other partition, and is opened when it can be", async () => {
    let broken = true;
    const worker = await startTestWorker("a", databaseUrl, (partition) => broken && partition === 0);
    expect(worker.balance.partitions).toEqual([1, 2, 3, 4, 5, 6, 7]);
    await until(async () => (await orphanPartitions(database.pool, NAMESPACE)).join() === "0", {
      what: "the broken one is seen to be nobody's",
    });
    await publish(0, 80);
    await until(() => count() === 70, { what: "the others are handled" });
    broken = false;
    await until(() => count() === 80, { what: "all are handled" });
    expectEachOnceInOrder(80);
  });

  test("a worker that cannot open a queue leaves it to one that can", async () => {
    const lame = await startTestWorker("a", databaseUrl, (partition) => partition === 0);
    const sound = await startTestWorker("b");
    await until(() => sound.balance.partitions.includes(0), { what: "the other has it" });
    await publish(0, 80);
    await until(() => count() === 80, { what: "all are handled" });
    expect(lame.handled[0]).toEqual([]);
    expectEachOnceInOrder(80);
  });

  test("the database's clock goes back: what a dead worker owned is taken over within seconds", async () => {
    await database.query(
      `INSERT INTO worker_leases (namespace, worker, epoch, expires_at) VALUES ($1, 'dead', 1, now() + interval '1 hour')`,
      [NAMESPACE],
    );
    await database.query(
      `INSERT INTO partition_owners (namespace, partition, owner) SELECT $1, generate_series(0, 7), 'dead'`,
      [NAMESPACE],
    );
    const worker = await startTestWorker("a");
    await until(() => worker.balance.partitions.length === PARTITIONS, { what: "all are taken over" });
  });

  test("the database's clock goes a day ahead: a worker goes on", async () => {
    const worker = await startTestWorker("a");
    const ahead = "UPDATE worker_leases SET expires_at = expires_at - interval '1 day' RETURNING epoch";
    const { rows } = await database.query<{ epoch: string }>(ahead);
    await until(
      async () => {
        const now = await database.query<{ epoch: string; live: boolean }>(
          "SELECT epoch, expires_at > now() AS live FROM worker_leases",
        );
        return now.rows[0]?.live === true && now.rows[0].epoch !== rows[0]?.epoch;
      },
      { what: "its lease is renewed" },
    );
    await until(() => worker.balance.partitions.length === PARTITIONS, { what: "it has all again" });
    await publish(0, 80);
    await until(() => count() === 80, { what: "all are handled" });
  });
});

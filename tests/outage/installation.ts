/** A core and an echo daemon, each a process, that reach their database and their broker through proxies that can fail. */
import { newDaemon, type Process, startCoreWorker } from "../chaos/fabric.ts";
import type { Client } from "@linkspan/compose";
import { type FaultProxy, startFaultProxy } from "../servers/fault-proxy.ts";

export interface Installation extends AsyncDisposable {
  readonly client: Client;
  readonly core: Process;
  readonly daemon: Process;
  readonly toDatabase: FaultProxy;
  readonly coreToBroker: FaultProxy;
  readonly daemonToBroker: FaultProxy;
}

export async function startInstallation(amqpUrl: string, databaseUrl: string): Promise<Installation> {
  await using stack = new AsyncDisposableStack();
  const proxyTo = async (url: string) =>
    stack.use(await startFaultProxy({ port: Number(new URL(url).port) }));
  const toDatabase = await proxyTo(databaseUrl);
  const coreToBroker = await proxyTo(amqpUrl);
  const daemonToBroker = await proxyTo(amqpUrl);
  const worker = stack.use(
    await startCoreWorker(through(coreToBroker, amqpUrl), through(toDatabase, databaseUrl)),
  );
  const daemon = stack.use(
    await newDaemon(
      worker.client,
      worker.data,
      { ...worker.env, LINKSPAN_AMQP_URL: through(daemonToBroker, amqpUrl) },
      { service: "echo" },
    ),
  );
  await daemon.start();
  const running = stack.move();
  return {
    client: worker.client,
    core: worker.process,
    daemon,
    toDatabase,
    coreToBroker,
    daemonToBroker,
    [Symbol.asyncDispose]: () => running[Symbol.asyncDispose](),
  };
}

function through({ host, port }: FaultProxy, url: string): string {
  const changed = new URL(url);
  changed.hostname = host;
  changed.port = String(port);
  return changed.toString();
}

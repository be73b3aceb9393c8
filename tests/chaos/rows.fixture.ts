/**
 * A daemon that does nothing but commit durable rows, several at a time, and prints what it was told: a line for what
 * it loaded, and one for each commit that was kept. What it has printed survives its own SIGKILL.
 *
 * Each commit has the next number: in `last`, and in one of the ring's rows. So rows that lack a commit in the middle
 * show it.
 */
import { writeSync } from "node:fs";
import {
  type Capabilities,
  type Connection,
  type Connector,
  type IdentityHost,
  parseConfig,
  startDaemon,
} from "@linkspan/daemon-kit";
import { LOG_OPTIONS, logDestination, stopOnSignals } from "@linkspan/daemon-kit/process";
import { FabricError } from "@linkspan/envelopes";
import { AmqpBus } from "@linkspan/fabric";
import pino from "pino";

const SERVICE = "counter";
const RING = 16;
const AT_ONCE = 8;

const CAPABILITIES: Capabilities = {
  send: [],
  edit: false,
  delete: false,
  reaction: false,
  typing: false,
  read: false,
  history: false,
  roster: false,
  maxPartBytes: undefined,
  pace: { perSecond: 1, burst: 1 },
  entities: [],
  rows: true,
};

function print(line: object): void {
  writeSync(1, `${JSON.stringify(line)}\n`);
}

const connector: Connector = {
  service: SERVICE,
  capabilities: CAPABILITIES,
  declaration: { name: "Counter", description: "Counts in durable rows, for a test.", fields: [] },
  link: (identity) =>
    Promise.resolve({ status: "linked", remote: identity.identityId, name: identity.userId }),
  open: async ({ userId }, host) => {
    const loaded = await host.rows.load();
    const rows = Object.fromEntries(
      [...loaded].map(([name, value]) => [name, Number(Buffer.from(value).toString())]),
    );
    print({ user: userId, loaded: rows });
    host.state({ state: "connected", message: "It counts." });
    host.guard(() => count(userId, host, rows.last ?? 0))();
    return connection;
  },
};

async function count(user: string, { rows, signal }: IdentityHost, last: number): Promise<void> {
  const waiting = new Set<Promise<void>>();
  for (let number = last + 1; !signal.aborted; number++) {
    const value = Buffer.from(String(number));
    const kept = rows
      .commit(
        new Map([
          ["last", value],
          [`ring ${number % RING}`, value],
        ]),
      )
      .then(() => {
        print({ user, kept: number });
        waiting.delete(kept);
      });
    // Also those that fail while nobody waits for them yet: the next wait reports it.
    kept.catch(() => undefined);
    waiting.add(kept);
    if (waiting.size >= AT_ONCE) await Promise.race(waiting);
  }
  await Promise.allSettled(waiting);
}

const connection: Connection = {
  plan: () => {
    throw new FabricError("platform.unsupported", "it only counts");
  },
  perform: () => Promise.reject(new FabricError("platform.unsupported", "it only counts")),
  [Symbol.asyncDispose]: () => Promise.resolve(),
};

const config = parseConfig(process.env);
const log = pino({ ...LOG_OPTIONS, level: config.logLevel }, logDestination());
const stop = stopOnSignals();
const { instance, busUrl: url } = config;
await using bus = await AmqpBus.connect({ service: SERVICE, instance, bootId: crypto.randomUUID(), url });
const daemon = await startDaemon({ config, connector, bus, log }, stop.signal);
await daemon.done;

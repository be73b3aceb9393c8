/**
 * A process with two identities. The code of one fails outside of every call and guard, in each place that
 * Node has. Prints the result: the states of both, and the effect of each place on the process.
 */
import { randomUUID } from "node:crypto";
import { EventEmitter, once } from "node:events";
import { connect, createServer } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { EmbeddedBroker } from "@linkspan/fabric";
import pino from "pino";
import { runDaemon } from "../lifecycle/daemon.ts";
import { claimStrayError } from "./barrier.ts";
import { watchFaults } from "../process/faults.ts";
import { PARTITIONS, ScriptedCore } from "../testing/scripted-core.ts";
import { StubConnector } from "../testing/stub-connector.ts";

const server = createServer((socket) => {
  socket.on("error", () => undefined);
  socket.write("hello\n");
}).listen(0, "127.0.0.1");
await once(server, "listening");
const address = server.address();
const port = typeof address === "object" && address !== null ? address.port : 0;

const fail = (): never => {
  throw new Error("thrown where nobody catches");
};

/** Each is called in `open`, and fails after it. */
const PLACES: Readonly<Record<string, () => void>> = {
  timer: () => void setTimeout(fail, 1),
  immediate: () => void setImmediate(fail),
  tick: () => process.nextTick(fail),
  microtask: () => queueMicrotask(fail),
  rejection: () => void Promise.reject(new Error("rejected, and nobody looks")),
  promise: () => void delay(1).then(fail),
  "socket opens": () => void connect(port, "127.0.0.1").on("connect", fail),
  "socket reads": () => void connect(port, "127.0.0.1").on("data", fail),
  "socket error without listener": () => void connect(1, "127.0.0.1"),
  "error event without listener": () =>
    void setTimeout(() => new EventEmitter().emit("error", new Error("emitted")), 1),
};

using _faults = watchFaults({
  log: pino({ level: "silent" }),
  fail: () => process.exit(1),
  claim: claimStrayError,
});
/** Log lines of the daemon. State notes cannot be used: a note that a newer one replaces is not sent. */
const lines: string[] = [];
const broker = new EmbeddedBroker();
const core = await ScriptedCore.start(broker);
core.link("good");
core.link("bad");
const bus = broker.connect({ service: "echo", instance: "primary", bootId: randomUUID() });
const connector = new StubConnector();
const places = Object.entries(PLACES);
const { onOpen } = connector;
connector.onOpen = async (identity, host) => {
  const next = identity.identityId === "bad" ? places.shift() : undefined;
  if (next === undefined) return onOpen(identity, host);
  next[1]();
};
const daemon = runDaemon(
  {
    ...(await core.enrol()),
    bus,
    connector,
    service: "echo",
    instance: "primary",
    keys: core.records().slice(0, 1),
    partitions: PARTITIONS,
    log: pino({ level: "warn" }, { write: (line) => void lines.push(line) }),
    bootId: randomUUID(),
    tuning: { openEveryMs: 0 },
    reopen: { minMs: 1, maxMs: 5 },
  },
  new AbortController().signal,
);

const statesOf = (account: string) =>
  core
    .payloads<{ account: string; state: string; code?: string }>("bridge_state")
    .filter((note) => note.account === account)
    .map(({ state }) => state);
while (statesOf("bad").at(-1) !== "connected") await delay(2);
process.stdout.write(
  JSON.stringify({
    places: Object.keys(PLACES).length,
    failures: lines.filter((line) => line.includes('"event":"connection.failed"')).length,
    opened: connector.opened.filter(({ identityId }) => identityId === "bad").length,
    good: statesOf("good"),
    isServing: daemon.isServing,
  }),
);
await daemon[Symbol.asyncDispose]();
server.close();
process.exit(0);

/** The IRC daemon on its own, against a message broker. */
import { randomUUID } from "node:crypto";
import { claimStrayError, parseConfig, startDaemon } from "@linkspan/daemon-kit";
import { LOG_OPTIONS, logDestination, stopOnSignals, watchFaults } from "@linkspan/daemon-kit/process";
import { AmqpBus } from "@linkspan/fabric";
import pino from "pino";
import { IrcConfigSchema } from "./config.ts";
import { ircConnector } from "./connector.ts";
import { SERVICE } from "./conversation.ts";

const config = parseConfig(process.env, IrcConfigSchema);
const log = pino({ ...LOG_OPTIONS, level: config.logLevel }, logDestination());
const stop = stopOnSignals();
watchFaults({ log, fail: stop.fail, claim: claimStrayError });

const { busUrl: url, instance } = config;
await using bus = await AmqpBus.connect({ url, service: SERVICE, instance, bootId: randomUUID() });
const connector = ircConnector({
  privateHosts: config.ircPrivateHosts === "allow",
  connectionsPerHost: config.ircConnectionsPerHost,
  attemptsPerHost: config.ircAttemptsPerHost,
});
await using daemon = await startDaemon({ config, connector, bus, log }, stop.signal);
await daemon.done;
if (stop.failed) process.exitCode = 1;

#!/usr/bin/env node
import { claimStrayError, parseConfig, startDaemon } from "@linkspan/daemon-kit";
import { LOG_OPTIONS, logDestination, stopOnSignals, watchFaults } from "@linkspan/daemon-kit/process";
import { AmqpBus } from "@linkspan/fabric";
import pino from "pino";
import { EchoPlatform } from "./client.ts";
import { EchoConfigSchema } from "./config.ts";
import { echoConnector } from "./connector.ts";

const config = parseConfig(process.env, EchoConfigSchema);
const log = pino({ ...LOG_OPTIONS, level: config.logLevel }, logDestination());
const stop = stopOnSignals();
watchFaults({ log, fail: stop.fail, claim: claimStrayError });

const { service, instance, busUrl: url } = config;
await using bus = await AmqpBus.connect({ service, instance, bootId: crypto.randomUUID(), url });
const connector = echoConnector({ platform: new EchoPlatform(), service });
const daemon = await startDaemon({ config, connector, bus, log }, stop.signal);
await daemon.done;
if (stop.failed) process.exitCode = 1;

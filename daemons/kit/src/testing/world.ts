/** A broker, a scripted core and daemon processes on it, for tests. */
import { randomUUID } from "node:crypto";
import { EmbeddedBroker, type EmbeddedBus } from "@linkspan/fabric";
import pino from "pino";
import { vi } from "vitest";
import type { Connector } from "../connector.ts";
import { type Daemon, runDaemon } from "../lifecycle/daemon.ts";
import type { DaemonOptions } from "../lifecycle/daemon-context.ts";
import { PARTITIONS, ScriptedCore } from "./scripted-core.ts";

export interface Process extends AsyncDisposable {
  readonly daemon: Daemon;
  readonly bus: EmbeddedBus;
  /** SIGKILL: it says nothing more and stops nothing. */
  readonly kill: () => void;
}

export class World implements AsyncDisposable {
  readonly broker: EmbeddedBroker;
  readonly core: ScriptedCore;
  readonly #processes: Process[] = [];

  private constructor(broker: EmbeddedBroker, core: ScriptedCore) {
    this.broker = broker;
    this.core = core;
  }

  static async make(service = "echo", instance = "primary"): Promise<World> {
    const broker = new EmbeddedBroker();
    return new World(broker, await ScriptedCore.start(broker, service, instance));
  }

  async start(connector: Connector, options: Partial<DaemonOptions> = {}): Promise<Process> {
    const { service, instance } = this.core;
    const bootId = randomUUID();
    const bus = this.broker.connect({ service, instance, bootId });
    const stopping = new AbortController();
    const daemon = runDaemon(
      {
        ...(await this.core.enrol()),
        bus,
        connector,
        service,
        instance,
        keys: this.core.records().slice(0, 1),
        partitions: PARTITIONS,
        generation: 1,
        log: pino({ level: process.env.KIT_LOG ?? "silent" }),
        bootId,
        ...options,
        tuning: { openEveryMs: 0, checkpointEveryMs: 0, ...options.tuning },
      },
      stopping.signal,
    );
    const started: Process = {
      daemon,
      bus,
      kill: () => bus.kill(),
      [Symbol.asyncDispose]: async () => {
        await daemon[Symbol.asyncDispose]();
        await bus[Symbol.asyncDispose]();
      },
    };
    this.#processes.push(started);
    return started;
  }

  /** Starts a daemon and waits until its identities are connected. */
  async up(connector: Connector, options: Partial<DaemonOptions> = {}): Promise<Process> {
    const started = await this.start(connector, options);
    await eventually(() => {
      const connected = this.core.payloads("bridge_state").filter(({ state }) => state === "connected");
      return new Set(connected.map(({ account }) => account)).size >= this.core.identities.size;
    });
    await eventually(() => started.daemon.isServing);
    return started;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#processes.map((each) => each[Symbol.asyncDispose]()));
    await this.core.bus[Symbol.asyncDispose]();
  }
}

/** Waits for a condition; fails with it when it does not come true. */
export async function eventually(holds: () => boolean, withinMs = 20_000): Promise<void> {
  await vi.waitFor(
    () => {
      if (!holds()) throw new Error(`it did not come true: ${holds.toString()}`);
    },
    { timeout: withinMs, interval: 2 },
  );
}

/** Linkspan as its users run it: processes started by the command, killed with SIGKILL, started again. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Client, connectClient, parseConfig } from "@linkspan/compose";
import { boundToParent } from "../servers/account.ts";
import { reservePort } from "../servers/port.ts";
import { until } from "../servers/until.ts";

const PROGRAM = fileURLToPath(new URL("../../compose/src/main.ts", import.meta.url));
const START_MS = 60_000;
const STOP_MS = 30_000;

export class Process implements AsyncDisposable {
  readonly #roles: string;
  readonly #env: Readonly<Record<string, string>>;
  readonly #log: string;
  #child: ChildProcess | undefined;

  constructor(roles: string, data: string, env: Readonly<Record<string, string>>) {
    this.#roles = roles;
    this.#env = { ...env, LINKSPAN_DATA: data, LINKSPAN_LOG_LEVEL: "debug" };
    this.#log = join(data, `${roles.replaceAll(",", "-")}.log`);
  }

  get pid(): number {
    if (this.#child?.pid === undefined) throw new Error(`${this.#roles} is not running`);
    return this.#child.pid;
  }

  get running(): boolean {
    const child = this.#child;
    return child !== undefined && child.exitCode === null && child.signalCode === null;
  }

  /** Resolves when it printed `ready`. */
  async start(): Promise<void> {
    const log = openSync(this.#log, "a");
    const [file, ...args] = boundToParent([process.execPath, PROGRAM, "up", "--roles", this.#roles]);
    const child = spawn(file, args, {
      env: { PATH: process.env.PATH, ...this.#env },
      stdio: ["ignore", "pipe", log],
    });
    this.#child = child;
    const ready = new Promise<void>((resolve, reject) => {
      let text = "";
      child.stdout?.on("data", (chunk: Buffer) => {
        text += chunk.toString();
        if (text.startsWith("ready ")) resolve();
      });
      child.once("exit", (code) =>
        reject(new Error(`${this.#roles} ended with ${code}:\n${this.log().slice(-3_000)}`)),
      );
      setTimeout(() => reject(new Error(`${this.#roles} was not ready in time`)), START_MS).unref();
    });
    await ready;
  }

  /** As a crash would. */
  async kill(): Promise<void> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, "exit");
    child.kill("SIGKILL");
    await ended;
  }

  signal(signal: NodeJS.Signals): void {
    this.#child?.kill(signal);
  }

  /** Asks it to end, and ends it after half a minute. @returns its exit code; null when it had to be killed */
  async stop(): Promise<number | null> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return null;
    const ended = once(child, "exit") as Promise<[number | null]>;
    child.kill("SIGTERM");
    const late = setTimeout(() => child.kill("SIGKILL"), STOP_MS);
    const [code] = await ended;
    clearTimeout(late);
    return code;
  }

  log(): string {
    return readFileSync(this.#log, "utf8");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}

export interface Fabric extends AsyncDisposable {
  readonly data: string;
  readonly client: Client;
  readonly core: Process;
  /** The same process as the core's, where everything is in one. */
  readonly daemon: Process;
}

/** Everything in one process, with the database it brings. */
export async function startEmbedded(roles = "core,api,irc"): Promise<Fabric> {
  const { data, env, release } = await place();
  const all = new Process(roles, data, env);
  await all.start();
  return fabric(data, env, all, all, release);
}

/** A core and a daemon, each a process, on RabbitMQ and PostgreSQL. */
export async function startCluster(amqpUrl: string, databaseUrl: string): Promise<Fabric> {
  const { data, env, release } = await place();
  const shared = { ...env, LINKSPAN_AMQP_URL: amqpUrl };
  const core = new Process("core,api", data, { ...shared, LINKSPAN_DATABASE_URL: databaseUrl });
  await core.start();
  const client = await connectClient(parseConfig({ ...env, LINKSPAN_DATA: data }, undefined));
  const daemon = await newDaemon(client, data, shared);
  await daemon.start();
  return fabric(data, env, core, daemon, release);
}

/** A daemon process with keys of its own, enrolled but not started. */
export async function newDaemon(
  client: Client,
  data: string,
  env: Readonly<Record<string, string>>,
  { service = "irc", instance = "primary" }: { readonly service?: string; readonly instance?: string } = {},
): Promise<Process> {
  const own = mkdtempSync(join(data, "daemon-"));
  const { token } = await client.send<{ token: string }>("POST", "/v1/enrolment-tokens", {
    service,
    instance,
  });
  const tokenFile = join(own, "enrol.token");
  writeFileSync(tokenFile, token, { mode: 0o600 });
  return new Process(service, own, {
    ...env,
    LINKSPAN_INSTANCE: instance,
    LINKSPAN_CORE_URL: client.url,
    LINKSPAN_ENROL_TOKEN_FILE: tokenFile,
  });
}

export interface CoreWorker extends AsyncDisposable {
  readonly process: Process;
  readonly client: Client;
  /** Of the installation's daemons: where the first worker answers. */
  readonly env: Readonly<Record<string, string>>;
  readonly data: string;
}

/**
 * A core worker with an API of its own, beside others of the same installation.
 *
 * @param first the worker that made the installation's keys; absent: this one does
 */
export async function startCoreWorker(
  amqpUrl: string,
  databaseUrl: string,
  first?: CoreWorker,
): Promise<CoreWorker> {
  const { data, env, release } = await place();
  for (const file of first === undefined ? [] : SHARED_FILES) {
    copyFileSync(join((first as CoreWorker).data, file), join(data, file));
  }
  const shared = { ...env, LINKSPAN_AMQP_URL: amqpUrl };
  const process = new Process("core,api", data, { ...shared, LINKSPAN_DATABASE_URL: databaseUrl });
  await process.start();
  return {
    process,
    client: await connectClient(parseConfig({ ...env, LINKSPAN_DATA: data }, undefined)),
    env: shared,
    data,
    [Symbol.asyncDispose]: async () => {
      await process.stop();
      release();
      rmSync(data, { recursive: true, force: true });
    },
  };
}

/** What every process of one installation's core has in common, see docs/operations.md. */
const SHARED_FILES = ["core.seed", "core.seal", "vault.key", "owner.token"] as const;

async function place() {
  const data = mkdtempSync(join(tmpdir(), "linkspan-chaos-"));
  const port = await reservePort();
  return { data, env: { LINKSPAN_PORT: String(port.number) }, release: () => port.release() };
}

async function fabric(
  data: string,
  env: Readonly<Record<string, string>>,
  core: Process,
  daemon: Process,
  release: () => void,
): Promise<Fabric> {
  const client = await connectClient(parseConfig({ ...env, LINKSPAN_DATA: data }, undefined));
  return {
    data,
    client,
    core,
    daemon,
    [Symbol.asyncDispose]: async () => {
      await daemon.stop();
      await core.stop();
      release();
      rmSync(data, { recursive: true, force: true });
    },
  };
}

/** Answers again after a crash. */
export async function answers(client: Client): Promise<void> {
  const ready = () =>
    fetch(`${client.url}/health/ready`).then(
      (response) => response.ok,
      () => false,
    );
  await until(ready, { what: "the core to be ready", timeoutMs: START_MS });
}

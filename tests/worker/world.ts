/** A whole fabric in this process: a real PostgreSQL, the embedded bus, the core, an echo daemon. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Config, openCore, parseConfig, runBeside, runCore } from "@linkspan/compose/parts";
import { EchoPlatform, echoConnector } from "@linkspan/daemon-echo";
import { EmbeddedBroker } from "@linkspan/fabric";
import { Database, type Identity, identityById, intentById, migrate } from "@linkspan/store";
import { type Core, type Metrics, openSession, readSession, submitCredentials } from "@linkspan/worker";
import { type Logger, pino } from "pino";
import { until } from "../servers/until.ts";

export interface World extends AsyncDisposable {
  readonly core: Core;
  readonly broker: EmbeddedBroker;
  readonly platform: EchoPlatform;
  readonly config: Config;
  readonly log: Logger;
  /** Every log line so far. */
  readonly lines: string[];
  /** Links an echo account and waits until it is connected. */
  link(userId?: string, fields?: Record<string, unknown>): Promise<Identity>;
  /** The intent's state once it is settled. */
  settled(intentId: string): Promise<string>;
}

export interface WorldOptions {
  readonly databaseUrl: string;
  readonly signatures?: "required" | "optional";
  readonly daemons?: boolean;
  /** Default: that of the configuration. */
  readonly foreignWorkspace?: string;
  readonly fanOut?: boolean;
  /** Data directory with the keys, kept afterwards; default a new one that is removed. */
  readonly data?: string;
  /** As it was, with the accounts' connections gone. Default new. */
  readonly platform?: EchoPlatform;
}

const quiet: Metrics = {
  events: () => undefined,
  intent: () => undefined,
  quarantined: () => undefined,
  inboundBatch: () => undefined,
};

export const WORKSPACE = "acme";

export async function openWorld(options: WorldOptions): Promise<World> {
  await using stack = new AsyncDisposableStack();
  const data = options.data ?? (await mkdtemp(join(tmpdir(), "linkspan-world-")));
  if (options.data === undefined) stack.defer(() => rm(data, { recursive: true, force: true }));
  const config = parseConfig(
    {
      LINKSPAN_DATA: data,
      LINKSPAN_DATABASE_URL: options.databaseUrl,
      LINKSPAN_SIGNATURES: options.signatures,
      LINKSPAN_FOREIGN_WORKSPACE: options.foreignWorkspace,
      LINKSPAN_FAN_OUT: options.fanOut === true ? "on" : "off",
    },
    undefined,
  );
  const lines: string[] = [];
  const log = pino({ level: "debug" }, { write: (line: string) => void lines.push(line) });
  const broker = new EmbeddedBroker();
  const database = stack.use(new Database(options.databaseUrl, { maxConnections: config.database_pool }));
  await migrate(database);
  const bus = stack.use(broker.connect("core"));
  const opened = await openCore(config, bus, database, quiet, log, stack);
  await runCore(opened, stack);
  const platform = options.platform ?? new EchoPlatform();
  if (options.daemons ?? true) {
    const connector = echoConnector({ platform });
    await runBeside(opened.core, stack.use(broker.connect("echo")), connector, config, log, stack);
  }
  const running = stack.move();
  const { core } = opened;
  return {
    core,
    broker,
    platform,
    config,
    log,
    lines,
    link: (userId = "user-1", fields = {}) => link(core, userId, fields),
    settled: (intentId) => settled(core, intentId),
    [Symbol.asyncDispose]: () => running[Symbol.asyncDispose](),
  };
}

async function link(core: Core, userId: string, fields: Record<string, unknown>): Promise<Identity> {
  await until(
    async () => {
      const { rows } = await core.database.query("SELECT 1 FROM instances WHERE declaration IS NOT NULL");
      return rows.length > 0;
    },
    { what: "a daemon to hold the instance" },
  );
  const actor = "test";
  const session = await openSession(core, { workspaceId: WORKSPACE, userId, service: "echo", actor });
  await submitCredentials(core, { workspaceId: WORKSPACE, sessionId: session.id, fields, actor });
  await until(
    async () => {
      const now = await readSession(core, WORKSPACE, session.id);
      if (now.state === "failed") throw new Error(`linking failed: ${JSON.stringify(now.step)}`);
      return now.state === "linked";
    },
    { what: "the account to be linked" },
  );
  await until(
    async () => (await identityById(core.database.pool, session.identity_id))?.bridge_state === "connected",
    { what: "the account to be connected" },
  );
  const identity = await identityById(core.database.pool, session.identity_id);
  if (identity === undefined) throw new Error("a linked identity is missing");
  return identity;
}

async function settled(core: Core, intentId: string): Promise<string> {
  let state = "";
  await until(
    async () => {
      state = (await intentById(core.database.pool, intentId))?.state ?? "missing";
      return !["recorded", "queued", "attempting"].includes(state);
    },
    { what: `intent ${intentId} to be settled` },
  );
  return state;
}

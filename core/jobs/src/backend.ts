/** Where jobs are kept: what differs between PostgreSQL and Redis, and nothing else. */
import { setTimeout as delay } from "node:timers/promises";
import {
  type BackendFactory,
  type ConnectionOptions,
  ConnectionClosedError,
  createPostgresBackend,
  type IQueueBackend,
  type PostgresConnectionOptions,
  type PostgresQueueBackend,
  type RedisQueueBackend,
  runMigrations,
} from "bullmq";
import { isCausedByRow } from "@linkspan/envelopes";
import pg from "pg";
import { unavailable } from "./failures.ts";
import { createEndingRedisBackend } from "./redis-disconnect.ts";
import { TakePause } from "./take-pause.ts";

export interface Backend<B extends IQueueBackend, Connection> {
  readonly factory: BackendFactory<B, Connection>;
  /** Fails fast: who enqueues wants to know. */
  readonly producer: Connection;
  /** Waits for the server to come back. */
  readonly consumer: Connection;
  /** Of what was made by this factory. */
  readonly takePause: TakePause;
}

const SCHEMA = "jobs";
/** Before a worker asks again where asking failed. */
export const RETRY_MS = 250;
/** How long a worker may sleep before it looks whether something is due that nothing told it of. */
export const LONGEST_SLEEP_SECONDS = 10;

/** Every wait has an end: the server's for statements, locks and silence, the client's for answers. */
const LIMITS = {
  connectionTimeoutMillis: 5_000,
  statement_timeout: 10_000,
  lock_timeout: 5_000,
  idle_in_transaction_session_timeout: 10_000,
  query_timeout: 12_000,
  keepAlive: true,
  keepAliveInitialDelayMillis: 10_000,
} as const;
/** How often an idle connection is asked whether the other side is still there, by a client that can. */
const PROBE_MS = 5_000;
/** Another process that makes the schema is waited for. */
const SCHEMA_LIMITS = { ...LIMITS, statement_timeout: 120_000, lock_timeout: 60_000, query_timeout: 130_000 };

/**
 * A process that works holds two connections, one of which listens; one more while it enqueues.
 *
 * @throws FabricError `store.unavailable`
 */
export async function postgresBackend(
  url: string,
  Client?: typeof pg.Client,
): Promise<Backend<PostgresQueueBackend, PostgresConnectionOptions>> {
  await createSchema(url);
  const connection = {
    connectionString: url,
    schema: SCHEMA,
    max: 1, // beside the one that listens
    application_name: "linkspan-jobs",
    ...LIMITS,
    ...(Client !== undefined && { Client, probeMs: PROBE_MS }),
  };
  const takePause = new TakePause();
  const factory = patient(enduringPostgres(Client), takePause);
  return { factory, producer: connection, consumer: connection, takePause };
}

export function redisBackend(url: string): Backend<RedisQueueBackend, ConnectionOptions> {
  const takePause = new TakePause();
  return {
    takePause,
    factory: patient(createEndingRedisBackend, takePause),
    producer: { url, retryStrategy: reconnectAfterMs, enableOfflineQueue: false },
    consumer: { url, retryStrategy: reconnectAfterMs, maxRetriesPerRequest: null },
  };
}

function reconnectAfterMs(times: number): number {
  return Math.min(2_000, 25 * 2 ** times) * (0.5 + Math.random() / 2);
}

async function createSchema(url: string): Promise<void> {
  const client = new pg.Client({ connectionString: url, ...SCHEMA_LIMITS });
  let lost: Error | undefined;
  client.on("error", (error) => {
    lost = error; // between two statements; the next one reports it
  });
  try {
    await client.connect();
    await runMigrations(client, SCHEMA);
  } catch (error) {
    throw unavailable(lost ?? error);
  } finally {
    await client.end().catch(() => undefined);
  }
}

/**
 * BullMQ knows a lost connection by ECONNREFUSED only. A server that restarts, or one on a UNIX socket, says
 * otherwise, and then a finished job would count as failed, a schedule would end and a worker would ask
 * without pause. Here each such error becomes the one that BullMQ waits out.
 *
 * It also sleeps up to an hour if the one question for the next due job fails; ten seconds must do.
 */
function enduringPostgres(
  Client: typeof pg.Client | undefined,
): BackendFactory<PostgresQueueBackend, PostgresConnectionOptions> {
  return (name, options, factoryOptions) => {
    const backend = createPostgresBackend(name, options, factoryOptions);
    const { connection } = backend;
    const { pool } = connection;
    const query = pool.query.bind(pool);
    pool.query = <R>(text: string, params?: readonly unknown[]) =>
      query<R>(text, params).catch((error: unknown) => {
        throw isPassing(error) ? new ConnectionClosedError(undefined, error) : error;
      });
    Object.defineProperty(backend, "maximumBlockTimeout", { value: LONGEST_SLEEP_SECONDS });
    // It makes the connection that listens itself, from the driver's module.
    if (Client !== undefined) Object.defineProperty(connection, "pgModule", { value: { ...pg, Client } });
    return backend;
  };
}

/**
 * Takes no job during a pause, and does not listen for one either: it would be told of a job in place of a process
 * that may take it. BullMQ asks again at once after any error but a lost connection, such as a server that is still
 * loading its data; here that takes a moment.
 */
function patient<B extends IQueueBackend, Connection>(
  factory: BackendFactory<B, Connection>,
  takePause: TakePause,
): BackendFactory<B, Connection> {
  return (name, options, factoryOptions) => {
    const made = factory(name, options, factoryOptions);
    const backend: IQueueBackend = made;
    const listen = backend.waitForJob.bind(backend);
    backend.waitForJob = async (...args) => {
      await takePause.over();
      return listen(...args);
    };
    const take = backend.moveToActive.bind(backend);
    backend.moveToActive = async (...args) => {
      await takePause.over();
      return take(...args).catch(async (error: unknown) => {
        await delay(RETRY_MS);
        throw error;
      });
    };
    return made;
  };
}

/** BullMQ's own refusals, of a job that is gone or belongs to another. */
const OF_BULLMQ = /^BM/;

/** Guilt is proven, trouble is assumed: whatever the values of the job did not cause is waited out. */
function isPassing(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const { code, constraint } = error as { readonly code?: unknown; readonly constraint?: unknown };
  // The driver's own errors about a lost connection are plain and have no code.
  if (typeof code !== "string") return error.constructor === Error || error instanceof AggregateError;
  if (OF_BULLMQ.test(code)) return false;
  return !isCausedByRow({ code, constraint: typeof constraint === "string" ? constraint : undefined });
}

/** The storage of jobs: only the differences between PostgreSQL and Redis. */
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
import { backoffMs } from "@linkspan/time";
import pg from "pg";
import { unavailable } from "./failures.ts";
import { createEndingRedisBackend } from "./redis-disconnect.ts";
import { TakePause } from "./take-pause.ts";

export interface Backend<B extends IQueueBackend, Connection> {
  readonly factory: BackendFactory<B, Connection>;
  /** Fails fast, so that a caller of `enqueue` learns it. */
  readonly producer: Connection;
  /** Waits until the server can be reached again. */
  readonly consumer: Connection;
  /** Of what was made by this factory. */
  readonly takePause: TakePause;
}

const SCHEMA = "jobs";
/** Delay before a worker repeats a failed query. */
export const RETRY_MS = 250;
/** Longest sleep of a worker before it checks for due jobs that it was not notified of. */
export const LONGEST_SLEEP_SECONDS = 10;

/** Every wait has a timeout: the server's for statements, locks and silence, the client's for answers. */
const LIMITS = {
  connectionTimeoutMillis: 5_000,
  statement_timeout: 10_000,
  lock_timeout: 5_000,
  idle_in_transaction_session_timeout: 10_000,
  query_timeout: 12_000,
  keepAlive: true,
  keepAliveInitialDelayMillis: 10_000,
} as const;
/** How often an idle connection is probed, when the client supports it. */
const PROBE_MS = 5_000;
/** Longer, because another process may be creating the schema. */
const SCHEMA_LIMITS = { ...LIMITS, statement_timeout: 120_000, lock_timeout: 60_000, query_timeout: 130_000 };

/**
 * A process that handles jobs holds two connections, one of which listens, and one more while it enqueues.
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
    max: 1, // in addition to the listening connection
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
  return backoffMs({ minMs: 50, maxMs: 2_000 }, times);
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
 * BullMQ recognises a lost connection only by ECONNREFUSED. A server that restarts, or one on a UNIX socket,
 * causes other errors. With those, a finished job would count as failed, a schedule would end and a worker
 * would ask without a delay. This wrapper turns each such error into a `ConnectionClosedError`, after which
 * BullMQ waits and tries again.
 *
 * BullMQ also sleeps up to an hour if the single query for the next due job fails; this limits the sleep to
 * ten seconds.
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
    // BullMQ creates the listening connection itself, from the driver's module.
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

/** BullMQ's own errors, for a job that no longer exists or belongs to another worker. */
const OF_BULLMQ = /^BM/;

/**
 * Whether to wait and retry: every error counts as temporary, except BullMQ's own errors and those that the
 * values of the job caused.
 */
function isPassing(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const { code, constraint } = error as { readonly code?: unknown; readonly constraint?: unknown };
  // The driver reports a lost connection with plain errors that have no code.
  if (typeof code !== "string") return error.constructor === Error || error instanceof AggregateError;
  if (OF_BULLMQ.test(code)) return false;
  return !isCausedByRow({ code, constraint: typeof constraint === "string" ? constraint : undefined });
}

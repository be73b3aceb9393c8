/**
 * One pool, one way to run a statement, one way to run a transaction.
 *
 * Queries are built with Kysely and run here, so that typed queries and the plain SQL of the hot paths
 * share a transaction. What the values of a row cause by themselves becomes `store.rejected`, anything else
 * `store.unavailable`. Every wait has an end (see `limits.ts`).
 */
import { FabricError } from "@linkspan/envelopes";
import { within } from "@linkspan/time";
import {
  type Compilable,
  DummyDriver,
  Kysely,
  PostgresAdapter,
  PostgresIntrospector,
  PostgresQueryCompiler,
} from "kysely";
import pg from "pg";
import { BoundedClient, type BoundedClientConfig } from "./bounded-client.ts";
import { fromDatabase, fromTransaction } from "./database-errors.ts";
import { KEEPALIVE_MS, LONG_WORK, type Limits, SHORT_WORK, sessionOptions } from "./limits.ts";
import type { Tables } from "./tables.ts";

/** A pool or a client inside a transaction. */
export type Queryable = Pick<pg.ClientBase, "query">;

/** Builds typed queries; it never connects. Run what it builds with {@link run}. */
export const sqlFor = new Kysely<Tables>({
  dialect: {
    createAdapter: () => new PostgresAdapter(),
    createDriver: () => new DummyDriver(),
    createIntrospector: (db) => new PostgresIntrospector(db),
    createQueryCompiler: () => new PostgresQueryCompiler(),
  },
});

/** @throws FabricError `store.rejected`, `store.unavailable` */
export async function run<Row>(on: Queryable, query: Compilable<Row>): Promise<Row[]> {
  const compiled = query.compile();
  const result = await execute<Row & pg.QueryResultRow>(on, compiled.sql, compiled.parameters);
  return result.rows;
}

export async function runFirst<Row>(on: Queryable, query: Compilable<Row>): Promise<Row | undefined> {
  return (await run(on, query))[0];
}

/** Plain SQL, for the hot paths. @param name prepares the statement once per connection */
export async function execute<Row extends pg.QueryResultRow>(
  on: Queryable,
  text: string,
  values: readonly unknown[] = [],
  name?: string,
): Promise<pg.QueryResult<Row>> {
  try {
    const config = name === undefined ? { text, values: [...values] } : { name, text, values: [...values] };
    return await on.query<Row>(config);
  } catch (error) {
    throw fromDatabase(error);
  }
}

export interface DatabaseOptions {
  /** Connections at most, default 6. One that listens comes on top, and one while tables are kept. */
  readonly maxConnections?: number;
  readonly applicationName?: string;
  readonly limits?: Limits;
}

/** Enough for what one process does at a time: intake, sequencer, pump and a few requests. */
export const DEFAULT_POOL = 6;
/** Connections that nobody used for this long are given back to the server. */
const IDLE_MS = 15_000;
/** How often a connection that listens is asked whether the other side is still there. */
const PROBE_MS = 3_000;
const PROBE_ANSWER_MS = 4_000;
/** Time that running statements have to end when the pool is closed. */
const CLOSE_MS = 5_000;

export class Database implements AsyncDisposable {
  readonly pool: pg.Pool;
  readonly #config: BoundedClientConfig;
  readonly #url: string;
  readonly #clients = new Set<BoundedClient>();
  #closed: Promise<void> | undefined;

  constructor(url: string, options: DatabaseOptions = {}) {
    this.#url = url;
    const limits = options.limits ?? SHORT_WORK;
    this.#config = {
      connectionString: withSessionOptions(url, limits),
      application_name: options.applicationName ?? "linkspan",
      connectionTimeoutMillis: limits.connectMs,
      keepAlive: true,
      keepAliveInitialDelayMillis: KEEPALIVE_MS,
      answerMs: limits.answerMs,
      onSilent: () => this.#suspectIdle(),
    };
    this.pool = new pg.Pool({
      ...this.#config,
      Client: BoundedClient,
      max: options.maxConnections ?? DEFAULT_POOL,
      idleTimeoutMillis: IDLE_MS,
    });
    // An idle connection that breaks is replaced on the next checkout; the query that needs it reports.
    this.pool.on("error", () => undefined);
    this.pool.on("connect", (client) => {
      if (client instanceof BoundedClient) this.#clients.add(client);
    });
    this.pool.on("remove", (client) => {
      if (client instanceof BoundedClient) this.#clients.delete(client);
    });
  }

  query<Row extends pg.QueryResultRow>(text: string, values: readonly unknown[] = []) {
    return execute<Row>(this.pool, text, values);
  }

  /**
   * Commits what `work` did, or nothing of it. A statement that failed has ended the transaction, whether or not `work`
   * passed its error on.
   *
   * @throws FabricError `store.rejected`, `store.unavailable`, or what `work` throws
   */
  async transaction<T>(work: (client: pg.PoolClient) => Promise<T>): Promise<T> {
    const client = await this.#connect();
    let broken: Error | undefined;
    // Without a listener a connection lost between two statements would end the process.
    const lost = (error: Error) => {
      broken = error;
    };
    client.on("error", lost);
    try {
      await execute(client, "BEGIN");
      const result = await work(client);
      const { command } = await execute(client, "COMMIT");
      if (command !== "COMMIT") throw undone();
      return result;
    } catch (error) {
      await client.query("ROLLBACK").catch((failure: unknown) => {
        broken = failure instanceof Error ? failure : new Error("ROLLBACK failed");
      });
      throw fromTransaction(error);
    } finally {
      client.off("error", lost);
      client.release(broken);
    }
  }

  /**
   * A connection of its own, outside the pool, for LISTEN: it is asked every few seconds whether the other
   * side is still there, and emits `end` within seconds when it is not.
   *
   * @returns the connected client; its caller ends it
   * @throws FabricError `store.unavailable`
   */
  async listener(): Promise<pg.Client> {
    const client = new BoundedClient({ ...this.#config, probeMs: PROBE_MS, answerMs: PROBE_ANSWER_MS });
    try {
      await client.connect();
      return client;
    } catch (error) {
      client.destroy("it did not connect");
      throw fromDatabase(error);
    }
  }

  /** One connection for migrations and upkeep, whose statements may take long; its caller disposes of it. */
  forLongWork(): Database {
    const applicationName = `${this.#config.application_name}-upkeep`;
    return new Database(this.#url, { maxConnections: 1, applicationName, limits: LONG_WORK });
  }

  /** Where one connection went silent, the idle ones of the same age did too: new ones are made instead. */
  #suspectIdle(): void {
    for (const client of this.#clients) if (!client.busy) client.destroy("another connection went silent");
  }

  async #connect(): Promise<pg.PoolClient> {
    try {
      return await this.pool.connect();
    } catch (error) {
      throw fromDatabase(error);
    }
  }

  /** Waits a few seconds for what still runs, then ends it. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed ??= this.#close();
    await this.#closed;
  }

  async #close(): Promise<void> {
    const ended = this.pool.end();
    if (await within(CLOSE_MS, ended)) return;
    for (const client of this.#clients) client.destroy("the pool is closed");
    await within(CLOSE_MS, ended);
  }
}

/** Settings in `options` of the URL itself take precedence. */
function withSessionOptions(url: string, limits: Limits): string {
  const parsed = new URL(url);
  const given = parsed.searchParams.get("options");
  parsed.searchParams.set("options", [sessionOptions(limits), given].filter((part) => part).join(" "));
  return parsed.href;
}

/** PostgreSQL answers the COMMIT of a failed transaction with a rollback, which the driver takes for success. */
function undone(): FabricError {
  return new FabricError(
    "store.unavailable",
    "a statement of the transaction had failed; nothing of it is stored",
  );
}

/**
 * One pool, one way to run a statement, one way to run a transaction.
 *
 * Queries are built with Kysely and run here, so that typed queries and the plain SQL of the hot paths
 * share a transaction. Anything that means "the database is away" becomes `store.unavailable`.
 */
import { FabricError } from "@linkspan/envelopes";
import {
  type Compilable,
  DummyDriver,
  Kysely,
  PostgresAdapter,
  PostgresIntrospector,
  PostgresQueryCompiler,
} from "kysely";
import pg from "pg";
import type { Tables } from "./tables.ts";

/** A pool or a client inside a transaction. */
export type Queryable = Pick<pg.Pool, "query">;

/** Builds typed queries; it never connects. Run what it builds with {@link run}. */
export const sqlFor = new Kysely<Tables>({
  dialect: {
    createAdapter: () => new PostgresAdapter(),
    createDriver: () => new DummyDriver(),
    createIntrospector: (db) => new PostgresIntrospector(db),
    createQueryCompiler: () => new PostgresQueryCompiler(),
  },
});

/** @throws FabricError `store.unavailable` when the database cannot be reached */
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

export class Database implements AsyncDisposable {
  readonly pool: pg.Pool;

  constructor(
    url: string,
    options: { readonly maxConnections?: number; readonly applicationName?: string } = {},
  ) {
    this.pool = new pg.Pool({
      connectionString: url,
      max: options.maxConnections ?? 16,
      application_name: options.applicationName ?? "linkspan",
      connectionTimeoutMillis: 5_000,
      idleTimeoutMillis: 60_000,
    });
    // An idle connection that breaks is replaced on the next checkout; the query that needs it reports.
    this.pool.on("error", () => undefined);
  }

  query<Row extends pg.QueryResultRow>(text: string, values: readonly unknown[] = []) {
    return execute<Row>(this.pool, text, values);
  }

  /** Commits what `work` did, or nothing of it. @throws FabricError `store.unavailable`, or what `work` throws */
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
      await execute(client, "COMMIT");
      return result;
    } catch (error) {
      await client.query("ROLLBACK").catch((failure: unknown) => {
        broken = failure instanceof Error ? failure : new Error("ROLLBACK failed");
      });
      throw fromDatabase(error);
    } finally {
      client.off("error", lost);
      client.release(broken);
    }
  }

  async #connect(): Promise<pg.PoolClient> {
    try {
      return await this.pool.connect();
    } catch (error) {
      throw fromDatabase(error);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.pool.end();
  }
}

/** SQLSTATE classes that mean "not now": connection, resources, operator intervention, rollback, system. */
const PASSING = /^(08|53|57|58|40)/;

/** Node's own network errors, and the driver's messages without a code. */
const NETWORK = new Set(["ECONNREFUSED", "ECONNRESET", "EPIPE", "ENOENT", "ETIMEDOUT", "ENOTFOUND"]);

function fromDatabase(error: unknown): unknown {
  if (error instanceof FabricError || !(error instanceof Error)) return error;
  const code = "code" in error && typeof error.code === "string" ? error.code : undefined;
  const passing =
    code === undefined
      ? error.constructor === Error || error instanceof AggregateError
      : PASSING.test(code) || NETWORK.has(code);
  if (!passing) return error;
  return new FabricError("store.unavailable", `the database did not answer (${code ?? "connection lost"})`, {
    cause: error,
  });
}

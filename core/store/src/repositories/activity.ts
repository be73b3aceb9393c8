/** Who holds the database up: transactions that stay open keep old rows from being cleaned away. */
import { type Queryable, execute } from "../database.ts";

export interface OpenTransaction {
  readonly ageMs: number;
  /** Of its server process; undefined for one that was prepared and never ended. */
  readonly pid: number | undefined;
  /** The session's `application_name`, or the name of the prepared transaction. */
  readonly application: string;
  readonly user: string;
  readonly database: string;
  /** As in `pg_stat_activity`; `prepared` for a prepared one. */
  readonly state: string;
}

/**
 * The transaction that is open for longest, in any database of the cluster. Sessions of other users are seen
 * only with the rights of `pg_monitor`.
 */
export async function oldestTransaction(on: Queryable): Promise<OpenTransaction | undefined> {
  type Row = Omit<OpenTransaction, "pid"> & { pid: number | null };
  const { rows } = await execute<Row & Record<string, unknown>>(
    on,
    `SELECT extract(epoch FROM clock_timestamp() - since)::float8 * 1000 AS "ageMs", pid, application, "user", database, state
       FROM (
         SELECT xact_start AS since, pid, application_name AS application, usename::text AS "user",
                datname::text AS database, state
           FROM pg_stat_activity
          WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'
            AND (backend_xid IS NOT NULL OR backend_xmin IS NOT NULL) AND xact_start IS NOT NULL
         UNION ALL
         SELECT prepared, NULL, gid, owner::text, database::text, 'prepared' FROM pg_prepared_xacts
       ) open
      ORDER BY since LIMIT 1`,
    [],
    "activity.oldest",
  );
  const row = rows[0];
  return row && { ...row, pid: row.pid ?? undefined };
}

/** What statements read: the plan that PostgreSQL ran, and for prepared ones also the plan that it makes once for all values. */
import type { Database, Queryable } from "@linkspan/store";
import { expect } from "vitest";

interface Plan {
  readonly "Actual Rows": number;
  readonly "Actual Loops": number;
  readonly "Shared Hit Blocks": number;
  readonly "Shared Read Blocks": number;
  readonly "Rows Removed by Filter"?: number;
  readonly Plans?: readonly Plan[];
}

interface Statement {
  readonly text: string;
  readonly values?: readonly unknown[];
  /** Of a prepared statement. */
  readonly name?: string;
}

/** The most rows that one node of the plans of these statements looked at. Nothing is changed. */
export async function touched(
  database: Database,
  work: (on: Queryable) => Promise<unknown>,
): Promise<number> {
  return Math.max(...(await plansOf(database, work)).map(mostOf));
}

/** Blocks of tables and indexes that the statements looked at, dead rows included. Nothing is changed. */
export async function blocks(database: Database, work: (on: Queryable) => Promise<unknown>): Promise<number> {
  return Math.max(
    ...(await plansOf(database, work)).map((plan) => plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]),
  );
}

async function plansOf(database: Database, work: (on: Queryable) => Promise<unknown>): Promise<Plan[]> {
  const statements: Statement[] = [];
  const spy = {
    query: (statement: Statement) => {
      statements.push(statement);
      return Promise.resolve({ rows: [], rowCount: 0 });
    },
  };
  await work(spy as unknown as Queryable);
  expect(statements.length).toBeGreaterThan(0);
  const plans: Plan[] = [];
  for (const statement of statements) {
    plans.push(await explained(database, statement, "custom"));
    if (statement.name !== undefined) plans.push(await explained(database, statement, "generic"));
  }
  return plans;
}

async function explained(
  database: Database,
  { text, values = [] }: Statement,
  plan: "custom" | "generic",
): Promise<Plan> {
  const client = await database.pool.connect();
  try {
    await client.query("BEGIN");
    await client.query(`SET LOCAL plan_cache_mode = force_${plan}_plan`);
    await client.query(`PREPARE explained AS ${text}`);
    const given = values.length === 0 ? "" : `(${values.map(literal).join(", ")})`;
    const { rows } = await client.query<{ "QUERY PLAN": [{ Plan: Plan }] }>(
      `EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE explained${given}`,
    );
    const [row] = rows;
    if (row === undefined) throw new Error("EXPLAIN gave no plan");
    return row["QUERY PLAN"][0].Plan;
  } finally {
    await client.query("ROLLBACK");
    await client.query("DEALLOCATE ALL");
    client.release();
  }
}

function mostOf(plan: Plan): number {
  const rows = (plan["Actual Rows"] + (plan["Rows Removed by Filter"] ?? 0)) * plan["Actual Loops"];
  return Math.max(rows, ...(plan.Plans ?? []).map(mostOf));
}

function literal(value: unknown): string {
  if (value === null || value === undefined) return "NULL";
  if (typeof value === "number" || typeof value === "boolean") return String(value);
  if (value instanceof Date) return quoted(value.toISOString());
  if (value instanceof Uint8Array) return quoted(`\\x${Buffer.from(value).toString("hex")}`);
  if (Array.isArray(value)) return quoted(`{${value.map((one) => JSON.stringify(one)).join(",")}}`);
  return quoted(String(value));
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}

import type pg from "pg";
import { expect, test } from "vitest";
import { inTransaction, type Pool } from "./transaction.ts";

test("what a failed transaction did is not taken for stored, though nobody passed the error on", async () => {
  const said: string[] = [];
  // Like PostgreSQL's answer to the COMMIT of a transaction in which a statement has failed.
  const client = {
    on: () => undefined,
    off: () => undefined,
    release: () => undefined,
    query: async (text: string) => {
      said.push(text);
      return { command: text === "COMMIT" ? "ROLLBACK" : text };
    },
  };
  const pool: Pool = { connect: async () => client as unknown as pg.PoolClient };
  await expect(inTransaction(pool, async () => "stored")).rejects.toMatchObject({
    code: "vault.unavailable",
  });
  expect(said.slice(0, 2)).toEqual(["BEGIN", "COMMIT"]);
});

/** Where each account's stream may start again. */
import { type Queryable, execute, runFirst, sqlFor } from "../database.ts";

/**
 * Compare-and-swap on the lease epoch: what an older holder still sends changes nothing.
 *
 * @returns false when a newer holder wrote already
 */
export async function saveCheckpoint(
  on: Queryable,
  account: string,
  cursor: Record<string, unknown>,
  epoch: number,
): Promise<boolean> {
  const result = await execute(
    on,
    `INSERT INTO checkpoints AS c (account, cursor, epoch) VALUES ($1, $2, $3)
     ON CONFLICT (account) DO UPDATE SET cursor = excluded.cursor, epoch = excluded.epoch, updated_at = now()
      WHERE c.epoch <= excluded.epoch`,
    [account, JSON.stringify(cursor), epoch],
  );
  return result.rowCount === 1;
}

export async function checkpointOf(
  on: Queryable,
  account: string,
): Promise<Record<string, unknown> | undefined> {
  const row = await runFirst(
    on,
    sqlFor.selectFrom("checkpoints").select("cursor").where("account", "=", account),
  );
  return row?.cursor;
}

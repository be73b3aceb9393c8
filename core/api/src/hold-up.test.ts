import { expect, test } from "vitest";
import { holdUp, LONG_TRANSACTION_MS } from "./hold-up.ts";

const open = {
  ageMs: LONG_TRANSACTION_MS,
  pid: 4711,
  application: "pg_dump",
  user: "backup",
  database: "linkspan",
  state: "idle in transaction",
};

test("a transaction that is open for long is named, with who has it and how to find it", () => {
  expect(holdUp(open)).toBe(
    "process 4711 (pg_dump) of backup in database linkspan has a transaction open for 300 s (idle in transaction); " +
      "old rows are not cleaned away until it ends",
  );
  expect(holdUp({ ...open, pid: undefined, application: "gid", state: "prepared" })).toContain(
    "prepared transaction gid",
  );
});

test("a short one, and none, are not worth a word", () => {
  expect(holdUp({ ...open, ageMs: LONG_TRANSACTION_MS - 1 })).toBeUndefined();
  expect(holdUp(undefined)).toBeUndefined();
});

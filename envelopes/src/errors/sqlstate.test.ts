import { expect, test } from "vitest";
import { isCausedByRow } from "./sqlstate.ts";

test("what the values of a row cause is the row's fault", () => {
  for (const code of ["22021", "22P05", "22003", "22P02", "22008", "23502", "23503", "54000"])
    expect([code, isCausedByRow({ code })]).toEqual([code, true]);
  expect(isCausedByRow({ code: "23514", constraint: "state_check" })).toBe(true);
  expect(isCausedByRow({ code: "23505", constraint: "leases_request_id_key" })).toBe(true);
});

test("everything else is trouble that passes, known or not", () => {
  const trouble =
    "25006 53100 53200 53300 57014 57P01 57P02 57P03 55P03 55000 40001 40P01 08006 42P01 42703 58030 XX000 XX001 P0001 0A000 54001 F0000 ZZZZZ";
  for (const code of trouble.split(" ")) expect([code, isCausedByRow({ code })]).toEqual([code, false]);
});

test("no partition for the row and a counter that was lost are not the row's fault", () => {
  expect(isCausedByRow({ code: "23514" })).toBe(false);
  const generated = new Set(["positions_pkey"]);
  expect(isCausedByRow({ code: "23505", constraint: "positions_pkey" }, generated)).toBe(false);
});

import type { Core } from "@linkspan/worker";
import { expect, test } from "vitest";
import { partitionCheck } from "./partition-check.ts";

test("a partition that nobody takes in is told, one that only moves is not", async () => {
  let orphans: number[] = [];
  let now = 0;
  const query = () => Promise.resolve({ rows: orphans.map((partition) => ({ partition })) });
  const core = { database: { pool: { query } }, namespace: { name: "main" } } as unknown as Core;
  const { check } = partitionCheck(core, () => now);
  expect(await check()).toMatchObject({ ok: true });
  orphans = [3];
  expect(await check()).toMatchObject({ ok: true });
  now += 10_000;
  orphans = [4];
  expect(await check()).toMatchObject({ ok: true });
  now += 10_000;
  orphans = [3, 4];
  expect(await check()).toMatchObject({ ok: true });
  now += 10_000;
  expect(await check()).toMatchObject({ ok: false, detail: expect.stringContaining("p04;") as unknown });
  orphans = [];
  expect(await check()).toMatchObject({ ok: true });
});

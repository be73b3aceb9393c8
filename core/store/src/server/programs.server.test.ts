import { cp, mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { findPrograms, installedPrograms } from "./programs.ts";

test("what npm installed is used where it lies", { timeout: 30_000 }, async () => {
  await using home = await temporary();
  const { native } = await installedPrograms();
  const programs = await findPrograms(home.path, undefined);
  expect(programs).toEqual({
    postgres: join(native, "bin", "postgres"),
    initdb: join(native, "bin", "initdb"),
    major: 18,
  });
  expect(await readdir(home.path)).toEqual([]);
});

test("where the install script did not run, a copy gets the missing links, once", {
  timeout: 30_000,
}, async () => {
  await using home = await temporary();
  await using unlinked = await temporary();
  const { native, version } = await installedPrograms();
  await cp(native, unlinked.path, {
    recursive: true,
    filter: (path) => !/lib(icu|pq)[^/]*\.so(\.\d+)?$/.test(path),
  });

  const from = { native: unlinked.path, version };
  const programs = await findPrograms(home.path, undefined, from);
  expect(programs.postgres.startsWith(join(home.path, `programs-${version}-`))).toBe(true);
  expect(await findPrograms(home.path, undefined, from)).toEqual(programs);
  expect(await readdir(home.path)).toHaveLength(1);
});

async function temporary() {
  const path = await mkdtemp(join(tmpdir(), "linkspan-programs-"));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { DirectoryLock } from "./directory-lock.ts";

let directory = "";
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "linkspan-lock-"));
});
afterEach(() => rm(directory, { recursive: true }));

test("of many who ask at once, one gets it, time after time", async () => {
  for (let round = 0; round < 20; round += 1) {
    const asked = await Promise.allSettled(
      Array.from({ length: 16 }, () => DirectoryLock.acquire(directory)),
    );
    const held = asked.flatMap((outcome) => (outcome.status === "fulfilled" ? [outcome.value] : []));
    expect(held).toHaveLength(1);
    for (const outcome of asked) {
      if (outcome.status === "rejected") expect(outcome.reason).toMatchObject({ code: "store.unavailable" });
    }
    await held[0]?.[Symbol.asyncDispose]();
  }
  expect(await readdir(directory)).toHaveLength(1);
});

test("who is refused is told who holds it", async () => {
  await using _held = await DirectoryLock.acquire(directory, { url: "http://127.0.0.1:8787" });
  await expect(DirectoryLock.acquire(directory)).rejects.toThrow(
    new RegExp(`process ${process.pid} \\(http://127.0.0.1:8787\\) since \\d{4}-\\d\\d-\\d\\dT`),
  );
});

test("a SIGKILL of the holder gives it up at once", async () => {
  const module = new URL("./directory-lock.ts", import.meta.url).href;
  const program = `const { DirectoryLock } = await import(${JSON.stringify(module)});
    await DirectoryLock.acquire(${JSON.stringify(directory)});
    process.stdin.once("end", () => process.exit(1)).resume();
    console.log("held");`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", program], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  await once(child.stdout, "data");
  await expect(DirectoryLock.acquire(directory)).rejects.toThrow(`process ${child.pid} since`);
  child.kill("SIGKILL");
  await once(child, "exit");
  await using lock = await DirectoryLock.acquire(directory);
  expect(lock).toBeDefined();
});

test("a directory deeper than a socket's path may be long", async () => {
  const deep = join(directory, "d".repeat(120));
  await mkdir(deep);
  const first = await DirectoryLock.acquire(deep);
  await expect(DirectoryLock.acquire(deep)).rejects.toThrow("in use");
  await first[Symbol.asyncDispose]();
  await using _second = await DirectoryLock.acquire(deep);
});

test("a lock that a power loss left empty is nobody's", async () => {
  await writeFile(join(directory, "lock.41"), "");
  await using _lock = await DirectoryLock.acquire(directory);
  expect((await readdir(directory)).filter((name) => name.startsWith("lock."))).toEqual(["lock.42"]);
});

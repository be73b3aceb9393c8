import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";

const run = promisify(execFile);
const fixture = (name: string) => fileURLToPath(new URL(`./${name}`, import.meta.url));

test("what an identity's code throws where nobody catches it ends that identity's connection, wherever it was", async () => {
  const { stdout } = await run(process.execPath, [fixture("stray-errors.fixture.ts")], { timeout: 60_000 });
  const left = JSON.parse(stdout) as { places: number; failures: number; opened: number; good: string[] };
  expect(left).toEqual({
    places: 10,
    failures: left.places,
    opened: left.places + 1,
    good: ["starting", "connected"],
    isServing: true,
  });
}, 70_000);

test("an exception that is no identity's is logged with its origin and ends the process; a rejection is logged", async () => {
  const code = `
    import pino from "pino";
    import { catchStrayErrors } from ${JSON.stringify(fixture("stray-errors.ts"))};
    catchStrayErrors(pino(pino.destination({ sync: true })));
    Promise.reject(new Error("a rejection of nobody"));
    setTimeout(() => { throw new Error("an exception of nobody"); }, 5);
    setTimeout(() => console.log("still here"), 2_000);
  `;
  const cwd = fixture("..");
  const ended = run(process.execPath, ["--input-type=module", "-e", code], { cwd, timeout: 60_000 });
  const { stdout, code: exit } = await ended.then(
    () => ({ stdout: "", code: 0 }),
    (error: unknown) => error as { stdout: string; code: number },
  );
  expect(exit).toBe(1);
  const lines = stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as { event: string; err: { stack: string } });
  expect(lines.map(({ event }) => event)).toEqual([
    "process.rejection_unhandled",
    "process.exception_uncaught",
  ]);
  expect(lines[1]?.err.stack).toContain("an exception of nobody");
}, 70_000);

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

import { join } from "node:path";
import { defineConfig } from "vitest/config";
import { SlowestReporter } from "./tests/reporter/slowest.ts";

/** A directory that gets a JSON report of each run, for `.ci/run` to count. */
const results = process.env["LINKSPAN_TEST_RESULTS"];

const json = (directory: string): ["json", { outputFile: string }] => [
  "json",
  { outputFile: join(directory, `${process.pid}.json`) },
];

/** `unit` runs anywhere in seconds; `servers` starts real brokers, databases and chat servers, one file at a time. */
export default defineConfig({
  test: {
    reporters: ["default", new SlowestReporter(), ...(results ? [json(results)] : [])],
    projects: [
      {
        test: {
          name: "unit",
          include: ["**/*.test.ts"],
          exclude: ["**/node_modules/**", "**/*.server.test.ts"],
          // The files share a process and what they import, which is most of the work; the setup file fails one that
          // leaves a trace in it.
          isolate: false,
          setupFiles: ["./tests/setup/no-trace.ts"],
          // These end what hangs. They are no measure: a slow machine must not reach them.
          testTimeout: 30_000,
          hookTimeout: 30_000,
          expect: { poll: { timeout: 20_000 } },
          maxWorkers: 2,
          sequence: { groupOrder: 0 },
        },
      },
      {
        test: {
          name: "servers",
          include: ["**/*.server.test.ts"],
          exclude: ["**/node_modules/**"],
          testTimeout: 120_000,
          hookTimeout: 120_000,
          fileParallelism: false,
          // Where a suite says that its cases may run side by side, each with processes of its own.
          maxConcurrency: 3,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
});

import { join } from "node:path";
import { defineConfig } from "vitest/config";
import { SlowestReporter } from "./tests/reporter/slowest.ts";

/** A directory that gets a JSON report of each run, for `.ci/run` to count. */
const results = process.env["LINKSPAN_TEST_RESULTS"];

/**
 * Suites that measure times or memory, hold a wait to a few seconds, load the machine, count its processes or shared
 * memory, or kill what they started in many places. They run one at a time and with nothing beside them.
 */
const ALONE = [
  "core/store/src/server/*.server.test.ts",
  "tests/chaos/*.server.test.ts",
  "tests/compose/{ending,up}.server.test.ts",
  "tests/api/{events,keys}.server.test.ts",
  "tests/contract/{broker-silence,broker-topology,bus-amqp-broker,closing-while-away}.server.test.ts",
  "tests/hostile/*.server.test.ts",
  "tests/outage/*.server.test.ts",
  "tests/servers/*.server.test.ts",
  "tests/store/{months,scale,waits}.server.test.ts",
];

const NOT_OURS = ["**/node_modules/**"];
/** Ends what hangs. It is no measure: a slow machine must not reach it. */
const server = { testTimeout: 120_000, hookTimeout: 120_000 };

const json = (directory: string): ["json", { outputFile: string }] => [
  "json",
  { outputFile: join(directory, `${process.pid}.json`) },
];

/**
 * `unit` runs anywhere in seconds, its files one after the other in two processes that stay. `servers` starts real
 * brokers, databases and chat servers, two files at a time, each in a process of its own. `alone` does so too, one
 * file at a time.
 */
export default defineConfig({
  test: {
    reporters: ["default", new SlowestReporter(), ...(results ? [json(results)] : [])],
    projects: [
      {
        test: {
          name: "unit",
          include: ["**/*.test.ts"],
          exclude: [...NOT_OURS, "**/*.server.test.ts"],
          testTimeout: 30_000,
          isolate: false,
          maxConcurrency: 10,
          maxWorkers: 2,
          sequence: { groupOrder: 0 },
        },
      },
      {
        test: {
          name: "servers",
          include: ["**/*.server.test.ts"],
          exclude: [...NOT_OURS, ...ALONE],
          ...server,
          maxWorkers: 2,
          sequence: { groupOrder: 1 },
        },
      },
      {
        test: {
          name: "alone",
          include: ALONE,
          exclude: NOT_OURS,
          ...server,
          maxWorkers: 1,
          maxConcurrency: 2,
          sequence: { groupOrder: 2 },
        },
      },
    ],
  },
});

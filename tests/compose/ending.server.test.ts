/**
 * However a run ends, nothing of it is left on the machine: no process, socket, shared memory or file that only a
 * running one needs. And the next one starts at once.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { until } from "../servers/until.ts";
import { ROOT } from "./linkspan.ts";
import { Machine, Terminal } from "./terminal.ts";

const NPM = "npm start";
const NODE = "src/main.ts";
const POSTGRES = "bin/postgres";
const LONGEST_START_MS = 1_500;
const LONGEST_STOP_MS = 200;

type End = (terminal: Terminal) => void | Promise<void>;

/** How people and machines end a run, and the exit code of npm where the run was up. */
const ENDS: readonly [string, End, number | null][] = [
  ["Ctrl-C", (terminal) => terminal.press("Ctrl-C"), 0],
  [
    "Ctrl-C twice",
    (terminal) => {
      terminal.press("Ctrl-C");
      terminal.press("Ctrl-C");
    },
    0,
  ],
  ["a closed window", (terminal) => terminal.close(), null],
  ["SIGTERM to npm alone", (terminal) => terminal.signal(NPM, "SIGTERM"), 0],
  ["SIGTERM to the process group", (terminal) => terminal.signalGroup(NPM, "SIGTERM"), 0],
  ["SIGKILL to the process", (terminal) => terminal.signal(NODE, "SIGKILL"), 137],
  ["SIGKILL to the process group", (terminal) => terminal.signalGroup(NPM, "SIGKILL"), 137],
];

describe.runIf(process.platform === "linux")("npm start on a terminal leaves nothing", () => {
  let machine: Machine;
  beforeAll(async () => {
    machine = await Machine.create();
  });
  afterAll(() => machine[Symbol.asyncDispose]());

  test.each(ENDS)("ended while it works by %s", async (_what, end, code) => {
    await using terminal = new Terminal(machine);
    await terminal.shows("ready http");
    expect(terminal.family.size).toBeGreaterThan(5);
    await end(terminal);
    expect(await terminal.ended()).toBe(code);
    expect(await terminal.left()).toEqual([]);
  });

  test.each(ENDS)("ended at a random moment of its first start by %s", async (_what, end) => {
    await using fresh = await Machine.create();
    await using terminal = new Terminal(fresh);
    await terminal.running(NPM);
    const afterMs = Math.round(Math.random() * LONGEST_START_MS);
    await delay(afterMs);
    await end(terminal);
    await terminal.ended();
    expect({ afterMs, left: await terminal.left() }).toEqual({ afterMs, left: [] });
  });

  test.each(ENDS)("ended at a random moment of its stop by %s", async (_what, end) => {
    await using terminal = new Terminal(machine);
    await terminal.shows("ready http");
    terminal.press("Ctrl-C");
    const afterMs = Math.round(Math.random() * LONGEST_STOP_MS);
    await delay(afterMs);
    await end(terminal);
    await terminal.ended();
    expect({ afterMs, left: await terminal.left() }).toEqual({ afterMs, left: [] });
  });

  test("killed time after time, the next one starts at once", async () => {
    for (let round = 0; round < 4; round += 1) {
      await using terminal = new Terminal(machine);
      await terminal.running(NODE);
      const afterMs = Math.round(Math.random() * LONGEST_START_MS);
      await delay(afterMs);
      await terminal.signal(NODE, "SIGKILL");
      await terminal.ended();
    }
    await using terminal = new Terminal(machine);
    await terminal.shows("ready http");
    terminal.press("Ctrl-C");
    expect(await terminal.ended()).toBe(0);
    expect(await terminal.left()).toEqual([]);
  });

  test("a stop that hangs is forced by a later Ctrl-C only, and takes the database with it", async () => {
    await using terminal = new Terminal(machine);
    await terminal.shows("ready http");
    await terminal.running(POSTGRES);
    await terminal.signal(POSTGRES, "SIGSTOP");
    terminal.press("Ctrl-C");
    terminal.press("Ctrl-C");
    await terminal.shows("still stopping; a further Ctrl-C");
    expect(terminal.member(NODE)).toBeDefined();
    terminal.press("Ctrl-C");
    await terminal.shows("ended at once");
    await terminal.ended();
    await terminal.signal(POSTGRES, "SIGCONT");
    expect(await terminal.left()).toEqual([]);
  });

  test("the demo leaves no data, however it ends", async () => {
    await using terminal = new Terminal(machine, `${ROOT}compose/bin/linkspan demo`);
    await terminal.running(POSTGRES);
    await terminal.signal(NODE, "SIGKILL");
    await terminal.ended();
    expect(await terminal.left()).toEqual([]);
  });
});

describe.runIf(process.platform === "linux")("what nobody caught", () => {
  const FIXTURE = pathToFileURL(join(ROOT, "tests/compose/faults.fixture.ts")).href;
  let machine: Machine;
  beforeAll(async () => {
    machine = await Machine.create();
  });
  afterAll(() => machine[Symbol.asyncDispose]());
  const run = (environment: NodeJS.ProcessEnv = {}) =>
    new Terminal(machine, `${ROOT}compose/bin/linkspan up`, {
      NODE_OPTIONS: `--import=${FIXTURE}`,
      ...environment,
    });

  test.each<[string, NodeJS.ProcessEnv, (terminal: Terminal) => Promise<void>]>([
    [
      "while it starts",
      { TEST_THROW_AFTER_MS: "400" },
      (terminal) => terminal.shows("process.uncaught_exception"),
    ],
    [
      "while it works",
      {},
      async (terminal) => {
        await terminal.shows("ready http");
        await terminal.signal(NODE, "SIGUSR2");
      },
    ],
    [
      "while it stops",
      {},
      async (terminal) => {
        await terminal.shows("ready http");
        await terminal.running(POSTGRES);
        await terminal.signal(POSTGRES, "SIGSTOP");
        terminal.press("Ctrl-C");
        await terminal.shows("process.stopping");
        await terminal.signal(NODE, "SIGUSR2");
        await terminal.shows("process.uncaught_exception");
        await terminal.signal(POSTGRES, "SIGCONT");
      },
    ],
  ])("an exception %s stops it cleanly, with a failure and no secret", async (_what, environment, happen) => {
    await using terminal = run(environment);
    await happen(terminal);
    expect(await terminal.ended()).toBe(1);
    expect(terminal.text).toContain("process.uncaught_exception");
    expect(terminal.text).toContain("faults.fixture.ts");
    expect(terminal.text).not.toContain("hunter2");
    expect(await terminal.left()).toEqual([]);
  });

  test("a rejection is counted and told in health, and everything goes on", async () => {
    await using terminal = run();
    await terminal.shows("ready http");
    await terminal.signal(NODE, "SIGALRM");
    await terminal.shows("process.unhandled_rejection");
    expect((await fetch(`${machine.url}/health/ready`)).status).toBe(200);
    const owner = readFileSync(join(machine.data, "owner.token"), "utf8").trim();
    const health = await fetch(`${machine.url}/v1/health`, { headers: { authorization: `Bearer ${owner}` } });
    expect(await health.text()).toContain("1 rejections");
    const metrics = async () => (await fetch(`${machine.url}/metrics`)).text();
    await until(async () => (await metrics()).includes('kind="rejection",part="process"} 1'), {
      what: "the count",
    });
    expect(terminal.text).not.toContain("hunter2");
    terminal.press("Ctrl-C");
    expect(await terminal.ended()).toBe(0);
    expect(await terminal.left()).toEqual([]);
  });
});

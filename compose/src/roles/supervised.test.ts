import { setImmediate as turn } from "node:timers/promises";
import type { Daemon } from "@linkspan/daemon-kit";
import { FabricError } from "@linkspan/envelopes";
import { pino } from "pino";
import { afterEach, describe, expect, test, vi } from "vitest";
import { Faults } from "./faults.ts";
import { daemonRunning, SupervisedDaemon } from "./supervised.ts";
import { Registry } from "prom-client";

const log = pino({ level: "silent" });
const tuning = { firstWaitMs: 1, longestWaitMs: 4, endWithinMs: 20 };

interface Scripted {
  readonly daemon: Daemon;
  readonly end: (error?: Error) => void;
  closed: boolean;
}

function scripted(): Scripted {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  promise.catch(() => undefined);
  const one: Scripted = {
    closed: false,
    end: (error) => (error === undefined ? resolve() : reject(error)),
    daemon: {
      epoch: 1,
      isServing: true,
      isMute: false,
      done: promise,
      [Symbol.asyncDispose]: () => {
        one.closed = true;
        resolve();
        return Promise.resolve();
      },
    },
  };
  return one;
}

/** A supervised daemon that records its runs, newest last. */
function world(onLaunch: (run: number) => unknown = () => undefined) {
  const runs: Scripted[] = [];
  const supervised = new SupervisedDaemon({
    name: "irc.primary",
    log,
    tuning,
    launch: async (stack) => {
      const run = scripted();
      runs.push(run);
      await onLaunch(runs.length);
      return stack.use(run.daemon);
    },
  });
  const ok = async () => (await supervised.check.check()).ok;
  return { supervised, runs, ok };
}

describe("a daemon that ends is started again, and nothing else notices", () => {
  test.each<[string, (run: Scripted, supervised: SupervisedDaemon) => void]>([
    ["it rejects", (run) => run.end(new FabricError("request.invalid", "other partitions"))],
    ["it ends without being told to", (run) => run.end()],
    ["its code threw where nobody caught it", (_run, supervised) => supervised.fault(new TypeError("x"))],
  ])("%s", async (_what, end) => {
    const { supervised, runs, ok } = world();
    await supervised.start();
    expect([runs.length, await ok()]).toEqual([1, true]);
    const [first] = runs;
    if (first !== undefined) end(first, supervised);
    await expect.poll(() => runs.length).toBe(2);
    await expect.poll(ok).toBe(true);
    expect(first?.closed).toBe(true);
    expect((await supervised.check.check()).detail).toContain("started again 1 times");
    await supervised[Symbol.asyncDispose]();
    expect(runs[1]?.closed).toBe(true);
  });

  test("a start that fails is tried until one succeeds; health says why meanwhile", async () => {
    let healthy = true;
    const { supervised, runs, ok } = world(() => {
      if (!healthy) throw new FabricError("bus.unavailable", "away");
    });
    await supervised.start();
    healthy = false;
    runs[0]?.end(new Error("x"));
    await expect.poll(() => runs.length).toBeGreaterThan(3);
    expect(await supervised.check.check()).toMatchObject({ ok: false });
    expect((await supervised.check.check()).detail).toContain("bus.unavailable");
    healthy = true;
    await expect.poll(ok).toBe(true);
    await supervised[Symbol.asyncDispose]();
  });

  test("an exception while it starts again is a start that failed", async () => {
    const { supervised, runs, ok } = world((run) => {
      if (run !== 2) return;
      supervised.fault(new TypeError("x"));
      return new Promise(() => undefined);
    });
    await supervised.start();
    runs[0]?.end(new Error("x"));
    await expect.poll(() => runs.length).toBe(3);
    await expect.poll(ok).toBe(true);
    await supervised[Symbol.asyncDispose]();
  });

  test("one that does not close is left behind after its time", async () => {
    const { supervised, runs, ok } = world();
    await supervised.start();
    const [first] = runs;
    if (first !== undefined) first.daemon[Symbol.asyncDispose] = () => new Promise(() => undefined);
    first?.end(new Error("x"));
    await expect.poll(() => runs.length).toBe(2);
    await expect.poll(ok).toBe(true);
    await supervised[Symbol.asyncDispose]();
  });
});

test("a first start that fails is the caller's to hear, and leaves nothing open", async () => {
  const { supervised, runs } = world(() => {
    throw new FabricError("request.invalid", "no key file");
  });
  await expect(supervised.start()).rejects.toMatchObject({ code: "request.invalid" });
  await supervised[Symbol.asyncDispose]();
  expect(runs).toHaveLength(1);
});

test("stopped while it waits to start again, it does not", async () => {
  const { supervised, runs } = world((run) => {
    if (run > 1) throw new Error("x");
  });
  await supervised.start();
  runs[0]?.end(new Error("x"));
  await expect.poll(() => runs.length).toBeGreaterThan(1);
  await supervised[Symbol.asyncDispose]();
  const { length } = runs;
  await turn();
  expect(runs).toHaveLength(length);
});

describe("a fault is given to the daemon whose code it was", () => {
  const sources: (() => void)[] = [];
  afterEach(() => {
    for (const remove of sources.splice(0)) remove();
  });

  /** Removes the test runner's own handlers meanwhile: they would count the fault as the test's. */
  function watched() {
    const events: NodeJS.EventEmitter = process;
    for (const event of ["uncaughtException", "unhandledRejection"]) {
      const others = events.listeners(event) as (() => void)[];
      events.removeAllListeners(event);
      sources.push(() => {
        events.removeAllListeners(event);
        for (const listener of others) events.on(event, listener);
      });
    }
    const faults = new Faults();
    const fail = vi.fn<(reason: string) => void>();
    const registry = new Registry();
    faults.countTo(registry);
    faults.watch(log, fail);
    return { faults, fail, registry };
  }

  test.each<[string, () => void]>([
    ["a timer", () => void setTimeout(() => raise(), 1)],
    ["a microtask", () => queueMicrotask(() => raise())],
    ["an event that nobody listens to", () => void setImmediate(() => process.stdin.emit("error", oops()))],
  ])("an exception in %s", async (_what, throwLater) => {
    const { fail, registry } = watched();
    const { supervised, runs } = world((run) => {
      if (run === 1) throwLater();
    });
    const quiet = world();
    await quiet.supervised.start();
    await supervised.start().catch(() => undefined);
    await expect.poll(() => registry.metrics()).toContain('kind="exception",part="irc.primary"} 1');
    expect(fail).not.toHaveBeenCalled();
    expect(quiet.runs).toHaveLength(1);
    expect(runs[0]?.closed ?? true).toBe(true);
    await supervised[Symbol.asyncDispose]();
    await quiet.supervised[Symbol.asyncDispose]();
  });

  test("a rejection is counted and told in health, and ends nothing", async () => {
    const { faults, fail, registry } = watched();
    const { supervised, runs } = world(() => void setTimeout(() => void Promise.reject(oops()), 1));
    await supervised.start();
    await expect.poll(() => registry.metrics()).toContain('kind="rejection",part="irc.primary"} 1');
    expect((await faults.check.check()).detail).toContain("1 rejections");
    expect([fail.mock.calls.length, runs.length]).toEqual([0, 1]);
    await supervised[Symbol.asyncDispose]();
  });

  test("one of nobody's, or in code that all share, asks the process to stop", async () => {
    const { fail } = watched();
    expect(daemonRunning()).toBeUndefined();
    setTimeout(() => raise(), 1);
    await expect.poll(() => fail).toHaveBeenCalledOnce();
    const { supervised } = world(() => {
      const error = oops();
      error.stack = `Error: x\n    at f (${new URL("../../../core/worker/src/pump.ts", import.meta.url).href}:1:1)`;
      setTimeout(() => {
        throw error;
      }, 1);
    });
    await supervised.start();
    await expect.poll(() => fail).toHaveBeenCalledTimes(2);
    await supervised[Symbol.asyncDispose]();
  });
});

function oops(): Error {
  return new Error("x");
}

function raise(): never {
  throw oops();
}

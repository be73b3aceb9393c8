import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, writeFileSync } from "node:fs";
import { readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { describe, expect, test, vi } from "vitest";
import { Watcher } from "./watcher.ts";

const soon = { timeout: 10_000, interval: 20 };
const linux = describe.runIf(process.platform === "linux");

// Each case has processes of its own, and mostly waits for the seconds that its child is given.
linux("whatever ends a process, what it started ends too", { concurrent: true }, () => {
  test.each([
    ["an ordinary child", "ordinary"],
    ["a child that ignores the polite signals", "stubborn"],
    ["a group with children of its own", "group"],
    ["a child that was not yet told to begin", "gated"],
  ])("%s", async (_what, kind) => {
    await using owner = await start(kind);
    const before = await living(owner);
    expect(before.length).toBeGreaterThan(0);
    owner.process.kill("SIGKILL");
    await vi.waitFor(async () => expect(await living(owner)).toEqual([]), soon);
  });

  test("the signals of the process group end neither the watcher nor its work", async () => {
    await using owner = await start("ordinary");
    for (const signal of ["SIGHUP", "SIGINT", "SIGTERM", "SIGQUIT"] as const) {
      process.kill(owner.watcher, signal);
    }
    process.kill(-(owner.process.pid ?? 0), "SIGKILL");
    await vi.waitFor(async () => expect(await living(owner)).toEqual([]), soon);
  });

  test("a watcher that was killed is replaced, and the new one knows everything", async () => {
    await using owner = await start("ordinary");
    process.kill(owner.watcher, "SIGKILL");
    const others = async () =>
      (await childrenOf(owner.process.pid ?? 0)).filter((pid) => pid !== owner.child);
    await vi.waitFor(async () => {
      const pids = await others();
      expect(pids).toHaveLength(1);
      expect(pids).not.toContain(owner.watcher);
    }, soon);
    owner.process.kill("SIGKILL");
    await vi.waitFor(async () => expect(await living(owner)).toEqual([]), soon);
  });

  test("files that it named are removed, with blanks and quotes in their names", async () => {
    const directory = mkdtempSync(join(tmpdir(), "linkspan-watcher-"));
    const path = join(directory, ` a "b' $(c) \\`);
    writeFileSync(path, "");
    await using owner = await start("ordinary", path);
    owner.process.kill("SIGKILL");
    await vi.waitFor(() => expect(existsSync(path)).toBe(false), soon);
    await rm(directory, { recursive: true });
  });

  test("what ended in time is not signalled, and what was kept stays", async () => {
    const directory = mkdtempSync(join(tmpdir(), "linkspan-watcher-"));
    const nothing = () => undefined;
    const watcher = new Watcher({ debug: nothing, info: nothing, warn: nothing, error: nothing });
    const { pid: watcherPid = 0 } = watcher;
    const kept = spawn("sleep", ["600"]);
    const stopped = spawn("sleep", ["600"]);
    const steps = [["SIGTERM", 5]] as const;
    using forgotten = watcher.watch(kept.pid ?? 0, { steps });
    watcher.watch(stopped.pid ?? 0, { steps });
    using keep = watcher.remove(directory);
    forgotten[Symbol.dispose]();
    keep[Symbol.dispose]();
    await Promise.all([watcher[Symbol.asyncDispose](), once(stopped, "exit")]);
    expect(stopped.signalCode).toBe("SIGTERM");
    expect([kept.exitCode, kept.signalCode]).toEqual([null, null]);
    expect(existsSync(directory)).toBe(true);
    expect(await stateOf(watcherPid)).toBeUndefined();
    kept.kill();
    await rm(directory, { recursive: true });
  });
});

interface Owner extends AsyncDisposable {
  readonly process: ChildProcess;
  readonly child: number;
  readonly watcher: number;
}

async function start(kind: string, path = ""): Promise<Owner> {
  const program = new URL("./watcher.fixture.ts", import.meta.url).pathname;
  const owner = spawn(process.execPath, [program, kind, path], {
    stdio: ["pipe", "pipe", "inherit"],
    detached: true,
  });
  const [line] = (await once(createInterface({ input: owner.stdout }), "line")) as [string];
  const numbers = JSON.parse(line) as { child: number; watcher: number };
  return {
    process: owner,
    ...numbers,
    async [Symbol.asyncDispose]() {
      owner.kill("SIGKILL");
      for (const pid of await living({ process: owner, ...numbers })) process.kill(pid, "SIGKILL");
    },
  };
}

/** Of the child's and the watcher's sessions, all that has not ended. */
async function living({ child, watcher }: Pick<Owner, "process" | "child" | "watcher">): Promise<number[]> {
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name)).map(Number);
  const found = await Promise.all(
    pids.map(async (pid) => {
      const stat = await stateOf(pid);
      const ours = stat !== undefined && [child, watcher].includes(stat.session);
      return ours ? [pid] : [];
    }),
  );
  return found.flat();
}

async function childrenOf(parent: number): Promise<number[]> {
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name)).map(Number);
  const states = await Promise.all(pids.map(async (pid) => ({ pid, stat: await stateOf(pid) })));
  return states.filter(({ stat }) => stat?.parent === parent).map(({ pid }) => pid);
}

async function stateOf(pid: number) {
  const text = await readFile(`/proc/${pid}/stat`, "latin1").catch(() => "");
  const [state = "Z", parent, , session] = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return text === "" || state === "Z" ? undefined : { parent: Number(parent), session: Number(session) };
}

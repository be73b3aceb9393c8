/** Starts the processes that its test names, prints their ids, and waits to be killed. */
import { spawn } from "node:child_process";
import { GO, gated, Watcher } from "./watcher.ts";

const [kind = "", path = ""] = process.argv.slice(2);
const nothing = () => undefined;
const watcher = new Watcher({ debug: nothing, info: nothing, warn: nothing, error: nothing });
if (path !== "") watcher.remove(path);

const scripts: Readonly<Record<string, string>> = {
  ordinary: "exec sleep 600",
  stubborn: "trap '' INT TERM; while :; do sleep 0.1; done",
  group: "sleep 600 & sleep 600 & wait",
  gated: "exec sleep 600",
};
const [program, ...args] = gated("/bin/sh", ["-c", scripts[kind] ?? ""]);
const child = spawn(program, args, { stdio: ["pipe", "ignore", "ignore"], detached: true });
if (kind !== "gated") {
  watcher.watch(child.pid ?? 0, {
    steps: [
      ["SIGINT", 1],
      ["SIGKILL", 1],
    ],
    group: kind === "group",
  });
  child.stdin?.write(GO);
}
process.stdin.once("end", () => process.exit(1)).resume();
process.stdout.write(`${JSON.stringify({ child: child.pid, watcher: watcher.pid })}\n`);

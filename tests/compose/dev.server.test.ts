/** `npm run dev`: a change of a source starts Linkspan again, on the same data. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, utimesSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { boundToParent } from "../servers/account.ts";
import { isAlive, killTree, treeOf } from "../servers/process-tree.ts";
import { until } from "../servers/until.ts";
import { place, ROOT } from "./linkspan.ts";

test("it starts again when a source changes, and leaves nothing behind", async () => {
  const { scripts } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as {
    scripts: Record<string, string>;
  };
  await using here = await place();
  const path = `${join(ROOT, "node_modules/.bin")}:${process.env["PATH"] ?? ""}`;
  const [program, ...args] = boundToParent(["sh", "-c", scripts["dev"] ?? ""]);
  const dev = spawn(program, args, { cwd: ROOT, env: { ...process.env, ...here.env, PATH: path } });
  await using cleanup = new AsyncDisposableStack();
  cleanup.defer(() => killTree(dev.pid ?? 0));
  let output = "";
  dev.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
  dev.stderr.on("data", (chunk: Buffer) => (output += chunk.toString()));
  const ready = (): number => output.match(/^ready http/gm)?.length ?? 0;

  await until(() => ready() === 1, { what: "the first start" });
  const now = new Date();
  utimesSync(join(ROOT, "core/api/src/app.ts"), now, now); // touched, not changed
  await until(() => ready() === 2, { what: "the start after the change" });
  expect((await fetch(`http://127.0.0.1:${here.env["LINKSPAN_PORT"]}/health/live`)).status).toBe(200);

  const tree = treeOf(dev.pid ?? 0);
  const ended = once(dev, "close");
  dev.kill("SIGTERM");
  await ended;
  await until(() => !tree.some(isAlive), { what: "the end of every process" });
});

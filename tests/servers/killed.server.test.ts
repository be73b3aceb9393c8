/** The harness itself: servers end with the process that started them, and are taken back after a crash of their own. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { delimiter } from "node:path";
import { createInterface } from "node:readline";
import { expect, test } from "vitest";
import { describeWithServers } from "./available.ts";
import { Family } from "./family.ts";
import { startPostgres } from "./postgres.ts";
import { until } from "./until.ts";

describeWithServers(["postgres", "rabbitmq", "redis"], "when the test process is killed", () => {
  test("its servers end, and their directories and shared memory go", async () => {
    using family = new Family();
    const fixture = new URL("./servers.fixture.ts", import.meta.url).pathname;
    const child = spawn(process.execPath, [fixture], {
      stdio: ["pipe", "pipe", "inherit"],
      env: { ...process.env, PATH: [family.mark, process.env["PATH"]].join(delimiter) },
    });
    const [line] = (await once(createInterface({ input: child.stdout }), "line")) as [string];
    const directories = JSON.parse(line) as string[];
    expect(directories.filter((directory) => existsSync(directory))).toHaveLength(3);
    child.kill("SIGKILL");
    await until(() => family.living().length === 0, { what: "every process to end" });
    await until(() => !directories.some((directory) => existsSync(directory)), { what: "the directories" });
    expect(family.held()).toEqual([]);
  });
});

describeWithServers(["postgres"], "a server that was killed and never started again", () => {
  test.each(["killed", "running"])("leaves no shared memory when it is disposed %s", async (how) => {
    using family = new Family();
    const server = await startPostgres();
    family.adopt(server.pid);
    if (how === "killed") await server.kill();
    await server[Symbol.asyncDispose]();
    expect(family.held()).toEqual([]);
    expect(family.living()).toEqual([]);
  });
});

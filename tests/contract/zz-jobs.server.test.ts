import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { JOBS_CASES, runCase } from "@linkspan/jobs/contract";
import { EmbeddedServer } from "@linkspan/store/server";
import { test } from "vitest";
import { startPostgres } from "../servers/postgres.ts";
import { startRedis } from "../servers/redis.ts";
const run = JOBS_CASES["outlives its server: a running job is finished once, schedules go on"]!;
const which = process.env["WHICH"];
test(`loop ${which}`, { timeout: 550_000 }, async () => {
  const nothing = () => undefined;
  const dataDir = await mkdtemp(join(tmpdir(), "linkspan-zz-"));
  const log = { debug: nothing, info: nothing, warn: nothing, error: nothing };
  const server = which === "embedded" ? await EmbeddedServer.start({ dataDir, log }) : which === "redis" ? await startRedis() : await startPostgres();
  const crash = server instanceof EmbeddedServer ? async () => { const back = Promise.withResolvers<void>(); using _r = server.onReady(() => back.resolve()); process.kill(server.pid, "SIGKILL"); await back.promise; } : async () => { await server.kill(); await server.start(); };
  try {
  for (let i = 0; i < 12; i++) { const t = performance.now(); const timer = setTimeout(() => console.log("STUCK", i, process.getActiveResourcesInfo().join()), 30_000); await runCase(run, { url: server.url, crash: async () => { await crash(); console.log(i, "crashed+back", (performance.now()-t).toFixed(0)); } }); clearTimeout(timer); console.log(i, (performance.now() - t).toFixed(0)); }
  } finally { await server[Symbol.asyncDispose](); await rm(dataDir, { recursive: true, force: true }); }
});

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { JOBS_CASES, jobsContract, runCase, type Subject } from "@linkspan/jobs/contract";
import { defineJob, type Jobs, type JobsOptions, openJobs } from "@linkspan/jobs";
import { EmbeddedServer } from "@linkspan/store/server";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import { describeWithServers } from "../servers/available.ts";
import { startPostgres } from "../servers/postgres.ts";
import { redisSays, startRedis } from "../servers/redis.ts";
import { until } from "../servers/until.ts";

type Running = Subject & AsyncDisposable;

describe("jobs on the embedded PostgreSQL", () => {
  suite(async () => {
    const dataDir = await mkdtemp(join(tmpdir(), "linkspan-jobs-"));
    const nothing = () => undefined;
    const log = { debug: nothing, info: nothing, warn: nothing, error: nothing };
    const server = await EmbeddedServer.start({ dataDir, log });
    return {
      url: server.url,
      crash: async () => {
        const back = Promise.withResolvers<void>();
        using _ready = server.onReady(() => back.resolve());
        process.kill(server.pid, "SIGKILL");
        await back.promise;
      },
      [Symbol.asyncDispose]: async () => {
        await server[Symbol.asyncDispose]();
        await rm(dataDir, { recursive: true });
      },
    };
  });
});

describeWithServers(["postgres"], "jobs on PostgreSQL", () => {
  suite(async () => {
    const server = await startPostgres();
    return {
      url: server.url,
      crash: async () => {
        await server.kill();
        await server.start();
      },
      [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
    };
  });
});

describeWithServers(["redis"], "jobs on Redis", () => {
  suite(async () => {
    const server = await startRedis();
    return {
      url: server.url,
      crash: async () => {
        await server.kill();
        await server.start();
      },
      [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
    };
  });

  test("a server that lost its data gets the schedules again, and runs them", async () => {
    await using server = await startRedis();
    const nothing = () => undefined;
    const log = { info: nothing, warn: nothing };
    await using jobs = await openJobs({ url: server.url, log, queue: "emptied", lookMs: 200 });
    let runs = 0;
    const sweep = defineJob("test.sweep", z.strictObject({}));
    await jobs.work(sweep, async () => void (runs += 1));
    await jobs.repeat(sweep, {}, { everyMs: 100 });
    await until(() => runs > 2, { what: "the first runs" });
    await redisSays(server.port, "FLUSHALL");
    const before = runs;
    await until(() => runs > before + 3, { what: "further runs" });
    await jobs.cancelRepeat(sweep);
  });

  describe("a broken driver is found out", () => {
    let server: Awaited<ReturnType<typeof startRedis>>;
    beforeAll(async () => {
      server = await startRedis();
    });
    afterAll(() => server[Symbol.asyncDispose]());

    test.each(BROKEN)("one that $fault", async ({ found, breaks }) => {
      const subject: Subject = {
        url: server.url,
        crash: async () => undefined,
        open: async (options) => breaks(await openJobs(options), options),
        patienceMs: 3_000,
      };
      const run = JOBS_CASES[found];
      expect(run).toBeDefined();
      if (run !== undefined) await expect(runCase(run, subject)).rejects.toBeInstanceOf(Error);
    });
  });
});

interface Broken {
  readonly fault: string;
  readonly found: string;
  readonly breaks: (jobs: Jobs, options: JobsOptions) => Jobs;
}

const BROKEN: readonly Broken[] = [
  {
    fault: "does not delay",
    found: "runs a delayed job not before its time",
    breaks: (jobs) => changed(jobs, { enqueue: (job, payload) => jobs.enqueue(job, payload) }),
  },
  {
    fault: "repeats once",
    found: "repeats a job in one schedule, however often it is asked for, until it is cancelled",
    breaks: (jobs) => changed(jobs, { repeat: (job, payload) => jobs.enqueue(job, payload) }),
  },
  {
    fault: "starts a schedule each time it is asked for",
    found: "repeats a job in one schedule, however often it is asked for, until it is cancelled",
    breaks: (jobs) => {
      let n = 0;
      return changed(jobs, {
        repeat: (job, payload, schedule) => {
          n += 1;
          return jobs.repeat(job, payload, schedule, { key: `${n}` });
        },
      });
    },
  },
  {
    fault: "does not try again",
    found: "tries again with growing pauses and counts",
    breaks: (jobs) =>
      changed(jobs, { enqueue: (job, payload) => jobs.enqueue(job, payload, { attempts: 1 }) }),
  },
  {
    fault: "tries again at once",
    found: "tries again with growing pauses and counts",
    breaks: (jobs) =>
      changed(jobs, {
        enqueue: (job, payload) => jobs.enqueue(job, payload, { backoff: { type: "fixed", delayMs: 1 } }),
      }),
  },
  {
    fault: "does not deduplicate",
    found: "keeps one of many with the same key while it waits",
    breaks: (jobs) =>
      changed(jobs, {
        enqueue: (job, payload, options) => {
          const { dedupKey: _, ...rest } = options ?? {};
          return jobs.enqueue(job, payload, rest);
        },
      }),
  },
  {
    fault: "forgets what is asked while it runs",
    found: "lets one more with the same key follow a running one, with the latest payload",
    breaks: (jobs) => {
      const asked = new Set<string>();
      return changed(jobs, {
        enqueue: async (job, payload, options) => {
          const key = options?.dedupKey ?? "";
          if (!asked.has(key)) await jobs.enqueue(job, payload, options);
          asked.add(key);
        },
      });
    },
  },
  {
    fault: "never looks for stalled work",
    found: "gives the work of a killed process to another one",
    breaks: (_, options) => lazily({ ...options, lockMs: 600_000 }),
  },
  {
    fault: "closes without waiting",
    found: "waits, when closed, for what is in flight and does not run it again",
    breaks: (jobs) =>
      changed(jobs, {
        [Symbol.asyncDispose]: async () => {
          setImmediate(() => void jobs[Symbol.asyncDispose]());
        },
      }),
  },
  {
    fault: "goes on after it was drained",
    found: "takes nothing more once drained, and loses nothing",
    breaks: (jobs) => changed(jobs, { drain: async () => undefined }),
  },
];

function changed(jobs: Jobs, changes: Partial<Jobs>): Jobs {
  return {
    enqueue: (job, payload, options) => jobs.enqueue(job, payload, options),
    repeat: (job, payload, schedule, options) => jobs.repeat(job, payload, schedule, options),
    cancelRepeat: (job, options) => jobs.cancelRepeat(job, options),
    work: (job, handle) => jobs.work(job, handle),
    drain: () => jobs.drain(),
    [Symbol.asyncDispose]: () => jobs[Symbol.asyncDispose](),
    ...changes,
  };
}

function lazily(options: JobsOptions): Jobs {
  const opened = openJobs(options);
  return {
    enqueue: async (job, payload, settings) => (await opened).enqueue(job, payload, settings),
    repeat: async (job, payload, schedule, settings) =>
      (await opened).repeat(job, payload, schedule, settings),
    cancelRepeat: async (job, settings) => (await opened).cancelRepeat(job, settings),
    work: async (job, handle) => (await opened).work(job, handle),
    drain: async () => (await opened).drain(),
    [Symbol.asyncDispose]: async () => (await opened)[Symbol.asyncDispose](),
  };
}

function suite(start: () => Promise<Running>): void {
  let running: Running;
  beforeAll(async () => {
    running = await start();
  });
  afterAll(() => running[Symbol.asyncDispose]());
  jobsContract(() => running);
}

/**
 * Durable rows on RabbitMQ and PostgreSQL while core and daemon are killed: a daemon never goes on from rows older
 * than what one before it was told was kept, nor from rows that lack a commit in the middle.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { randomInt } from "node:crypto";
import { once } from "node:events";
import { openSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { boundToParent } from "../servers/account.ts";
import { describeWithServers } from "../servers/available.ts";
import { startPostgres } from "../servers/postgres.ts";
import { startRabbitmq } from "../servers/rabbitmq.ts";
import { until } from "../servers/until.ts";
import { type CoreWorker, startCoreWorker } from "./fabric.ts";
import { insist } from "./talk.ts";

/** Commits that must be kept, all accounts together; 10,000 for the long form. */
const COUNT = Number(process.env.ROWS_COMMITS ?? 300);
const KILLS = Math.max(4, Math.round(COUNT / 250));
const PROGRAM = fileURLToPath(new URL("./rows.fixture.ts", import.meta.url));
const USERS = ["ada", "grace"] as const;
const RING = 16;
const MINUTES = 60_000;

interface Line {
  readonly user: string;
  readonly loaded?: Readonly<Record<string, number>>;
  readonly kept?: number;
}

/** What the daemons of each account were told, and what is wrong with what they loaded. */
class Witness {
  readonly told = new Map<string, number>();
  readonly faults: string[] = [];
  kept = 0;
  loads = 0;

  hear({ user, loaded, kept }: Line): void {
    const told = this.told.get(user) ?? 0;
    if (kept !== undefined) {
      if (kept <= told) this.faults.push(`${user}: ${kept} was kept after ${told}`);
      this.told.set(user, kept);
      this.kept += 1;
    }
    if (loaded === undefined) return;
    this.loads += 1;
    const last = loaded["last"] ?? 0;
    if (last < told) this.faults.push(`${user}: loaded ${last}, but was told that ${told} is kept`);
    for (let place = 0; place < RING; place++) {
      const expected = last - ((((last - place) % RING) + RING) % RING);
      const found = loaded[`ring ${place}`] ?? 0;
      if (found !== Math.max(expected, 0)) this.faults.push(`${user}: ${found} instead of ${expected}`);
    }
    this.told.set(user, last);
  }
}

class Counter implements AsyncDisposable {
  readonly #env: Readonly<Record<string, string>>;
  readonly #log: string;
  readonly #witness: Witness;
  #child: ChildProcess | undefined;

  constructor(env: Readonly<Record<string, string>>, log: string, witness: Witness) {
    this.#env = env;
    this.#log = log;
    this.#witness = witness;
  }

  start(): void {
    const [file, ...args] = boundToParent([process.execPath, PROGRAM]);
    const child = spawn(file, args, {
      env: { PATH: process.env.PATH, ...this.#env },
      stdio: ["ignore", "pipe", openSync(this.#log, "a")],
    });
    this.#child = child;
    if (child.stdout === null) throw new Error("it has no output");
    createInterface({ input: child.stdout }).on("line", (line) => {
      if (line.endsWith("}")) this.#witness.hear(JSON.parse(line) as Line);
    });
  }

  /** SIGKILL. Resolves when everything that it has printed was heard. */
  async kill(): Promise<void> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const closed = once(child, "close");
    child.kill("SIGKILL");
    await closed;
  }

  get log(): string {
    return readFileSync(this.#log, "utf8");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }
}

describeWithServers(["postgres", "rabbitmq"], "durable rows while everything is killed", () => {
  let stack: AsyncDisposableStack;
  let core: CoreWorker;
  let counter: Counter;
  const witness = new Witness();

  beforeAll(async () => {
    stack = new AsyncDisposableStack();
    const postgres = stack.use(await startPostgres());
    const rabbitmq = stack.use(await startRabbitmq());
    const url = await rabbitmq.vhost("main");
    core = stack.use(await startCoreWorker(url, await postgres.createDatabase("rows")));
    const { token } = await core.client.send<{ token: string }>("POST", "/v1/enrolment-tokens", {
      service: "counter",
      instance: "primary",
    });
    const tokenFile = join(core.data, "counter.token");
    writeFileSync(tokenFile, token, { mode: 0o600 });
    counter = stack.use(
      new Counter(
        {
          LINKSPAN_DAEMON_BUS_URL: url,
          LINKSPAN_DAEMON_CORE_URL: core.client.url,
          LINKSPAN_DAEMON_ENROL_TOKEN_FILE: tokenFile,
          LINKSPAN_DAEMON_KEY_FILE: join(core.data, "counter.keys.json"),
        },
        join(core.data, "counter.log"),
        witness,
      ),
    );
    counter.start();
    await until(() => counter.log.includes('"event":"term.begun"'), {
      what: "the daemon to hold its instance",
      timeoutMs: MINUTES,
    });
    for (const user of USERS) await link(user);
  });
  afterAll(() => stack?.disposeAsync());

  async function link(user: string): Promise<void> {
    const opened = await insist(() =>
      core.client.send<{ data: { id: string } }>("POST", "/api/bridges/counter/sessions", { user_id: user }),
    );
    const { id } = opened.data;
    await core.client.send("POST", `/api/bridges/counter/sessions/${id}/credentials`, { credentials: {} });
    await until(() => witness.told.has(user), {
      what: `${user} to be linked and loaded`,
      timeoutMs: MINUTES,
    });
  }

  const keptMore = (kept: number) =>
    until(() => witness.kept >= kept || witness.faults.length > 0, {
      what: `${kept} commits to be kept`,
      timeoutMs: 5 * MINUTES,
    });

  test(
    "what was told kept is there after every SIGKILL of core or daemon, and nothing is missing in between",
    async () => {
      for (let kills = 0; kills < KILLS; kills++) {
        const step = Math.ceil(COUNT / (KILLS + 1));
        await keptMore(witness.kept + randomInt(1, 2 * step));
        if (kills % 2 === 0) {
          await counter.kill();
          counter.start();
        } else {
          await core.process.kill();
          await core.process.start();
        }
      }
      await keptMore(Math.max(COUNT, witness.kept + 20));
      expect(witness.faults).toEqual([]);
      expect(witness.loads).toBeGreaterThanOrEqual(USERS.length * (1 + KILLS / 2));
      process.stdout.write(
        `durable rows: ${witness.kept} commits kept, ${KILLS} kills, ${witness.loads} loads\n`,
      );
    },
    20 * MINUTES + COUNT * 100,
  );
});

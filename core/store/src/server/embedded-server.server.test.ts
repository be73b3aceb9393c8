import { once } from "node:events";
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { mkdir, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import pg from "pg";
import { expect, test, vi } from "vitest";
import { EmbeddedServer } from "./embedded-server.ts";
import { isAlive, isServerOf, serversOf } from "./processes.ts";
import { scratch } from "./scratch.ts";

const slow = { timeout: 60_000 };
const soon = { timeout: 20_000, interval: 20 };

test("starts, keeps data over a restart and leaves no process behind", slow, async () => {
  await using place = await scratch();
  {
    await using server = await EmbeddedServer.start(place);
    await query(server.url, "CREATE TABLE kept (n int); INSERT INTO kept VALUES (7)");
    expect(server.state).toBe("up");
    expect(await serversOf(place.cluster)).toContain(server.pid);
  }
  expect(await serversOf(place.cluster)).toEqual([]);

  await using again = await EmbeddedServer.start(place);
  expect(await query(again.url, "SELECT n FROM kept")).toEqual([{ n: 7 }]);
});

test("is durable, small and private", slow, async () => {
  await using place = await scratch();
  await using server = await EmbeddedServer.start(place);
  const names = "'fsync','synchronous_commit','full_page_writes','listen_addresses','shared_buffers'";
  const settings = await query(
    server.url,
    `SELECT name, current_setting(name) AS value FROM pg_settings WHERE name IN (${names}) ORDER BY name`,
  );
  expect(Object.fromEntries(settings.map(({ name, value }) => [name, value]))).toEqual({
    fsync: "on",
    full_page_writes: "on",
    listen_addresses: "",
    shared_buffers: "32MB",
    synchronous_commit: "on",
  });
  const socket = new URL(server.url).searchParams.get("host") ?? "";
  expect((await stat(socket)).mode & 0o777).toBe(0o700);
  expect(await query(server.url, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user")).toEqual([
    { rolsuper: false },
  ]);
  expect(new URL(server.url).password).toBe("");
});

test("killed, it is started again; pools reconnect and committed rows are there", slow, async () => {
  await using place = await scratch();
  await using server = await EmbeddedServer.start(place);
  const pool = new pg.Pool({ connectionString: server.url, max: 2 });
  pool.on("error", () => undefined);
  await pool.query("CREATE TABLE kept (n int)");
  await pool.query("INSERT INTO kept VALUES (7)");

  const exits: unknown[] = [];
  const ready = vi.fn();
  using _exit = server.onExit((exit) => exits.push(exit));
  using _ready = server.onReady(ready);
  const killed = server.pid;
  process.kill(killed, "SIGKILL");

  await vi.waitFor(() => expect(ready).toHaveBeenCalledOnce(), soon);
  expect(exits).toEqual([{ code: null, signal: "SIGKILL" }]);
  expect(server.pid).not.toBe(killed);
  await vi.waitFor(
    async () => expect((await pool.query("SELECT n FROM kept")).rows).toEqual([{ n: 7 }]),
    soon,
  );
  await pool.end();
});

test(
  "after a SIGKILL of its parent it stops by itself, and leaves no socket, lock or shared memory",
  slow,
  async () => {
    await using place = await scratch();
    const others = await segmentsOf();
    const owner = await startInChild(place.dataDir);
    const memory = (await sharedMemoryOf(owner.pid)).filter((name) => !others.includes(name));
    expect(memory.length).toBeGreaterThan(1);
    await query(owner.url, "CREATE TABLE kept (n int); INSERT INTO kept VALUES (7)");
    owner.child.kill("SIGKILL");
    await once(owner.child, "exit");
    await vi.waitFor(async () => expect(await serversOf(place.cluster)).toEqual([]), soon);
    await vi.waitFor(async () => expect(await passing(place.dataDir)).toEqual([]), soon);
    const left = [...(await readdir("/dev/shm")), ...(await segmentsOf())];
    expect(left.filter((name) => memory.includes(name))).toEqual([]);

    await using server = await EmbeddedServer.start(place);
    expect(await query(server.url, "SELECT n FROM kept")).toEqual([{ n: 7 }]);
    expect(place.events.map(({ event }) => event)).not.toContain("store.server.orphan");
  },
);

test(
  "killed at any moment of its start, its parent leaves no process and no half-made cluster",
  slow,
  async () => {
    await using place = await scratch();
    const postgres = join(place.dataDir, "postgres");
    const moments = ["cluster.new-", "cluster", "postmaster.pid"];
    for (const moment of moments) {
      const { child } = spawnOwner(place.dataDir);
      const looked = moment === "postmaster.pid" ? place.cluster : postgres;
      await vi.waitFor(async () => {
        expect((await readdir(looked)).some((name) => name.startsWith(moment))).toBe(true);
      }, soon);
      child.kill("SIGKILL");
      await once(child, "exit");
      await vi.waitFor(async () => expect(await serversOf(place.cluster)).toEqual([]), soon);
      await vi.waitFor(async () => expect(await passing(place.dataDir)).toEqual([]), soon);
    }
    await using server = await EmbeddedServer.start(place);
    expect(await query(server.url, "SELECT 1 AS n")).toEqual([{ n: 1 }]);
  },
);

test("of a temporary one nothing is left, whether it is disposed or its parent is killed", slow, async () => {
  await using place = await scratch();
  await (await EmbeddedServer.start({ ...place, temporary: true }))[Symbol.asyncDispose]();
  await expect(stat(place.dataDir)).rejects.toMatchObject({ code: "ENOENT" });

  const owner = await startInChild(place.dataDir, "temporary");
  owner.child.kill("SIGKILL");
  await vi.waitFor(async () => expect(stat(place.dataDir)).rejects.toMatchObject({ code: "ENOENT" }), soon);
  expect(await serversOf(place.cluster)).toEqual([]);
});

test("when the watcher is killed with the parent, the next start takes the data over", slow, async () => {
  await using place = await scratch();
  const owner = await startInChild(place.dataDir);
  await query(owner.url, "CREATE TABLE kept (n int); INSERT INTO kept VALUES (7)");
  owner.child.kill("SIGSTOP");
  process.kill(owner.watcher, "SIGKILL");
  owner.child.kill("SIGKILL");
  await once(owner.child, "exit");
  expect(await isServerOf(place.cluster, owner.pid)).toBe(true);

  await using server = await EmbeddedServer.start(place);
  expect(await serversOf(place.cluster)).not.toContain(owner.pid);
  expect(server.pid).not.toBe(owner.pid);
  expect(await query(server.url, "SELECT n FROM kept")).toEqual([{ n: 7 }]);
  expect(place.events.map(({ event }) => event)).toContain("store.server.orphan");
});

test("a second one on the directory is refused and told of the first", slow, async () => {
  await using place = await scratch();
  const owner = await startInChild(place.dataDir);
  const refused = EmbeddedServer.start(place);
  await expect(refused).rejects.toMatchObject({ code: "store.unavailable" });
  await expect(refused).rejects.toThrow(
    new RegExp(`in use by process ${owner.child.pid} \\(http://127\\.0\\.0\\.1:8787\\) since \\d{4}-`),
  );
  expect(await query(owner.url, "SELECT 1 AS n")).toEqual([{ n: 1 }]);
  owner.child.kill("SIGTERM");
  await once(owner.child, "exit");
  expect(await serversOf(place.cluster)).toEqual([]);
});

test("a process number that now is somebody else's does not keep it from starting", slow, async () => {
  await using place = await scratch();
  await (await EmbeddedServer.start(place))[Symbol.asyncDispose]();
  const stranger = spawn("sleep", ["60"]);
  await once(stranger, "spawn");
  await writeFile(join(place.cluster, "postmaster.pid"), `${stranger.pid}\n${place.cluster}\n1\n5432\n`);
  const run = join(place.dataDir, "postgres", "run");
  await writeFile(join(run, ".s.PGSQL.5432.lock"), `${stranger.pid}\n`);

  await using server = await EmbeddedServer.start(place);
  expect(await query(server.url, "SELECT 1 AS n")).toEqual([{ n: 1 }]);
  expect(stranger.exitCode).toBeNull();
  expect(isAlive(stranger.pid ?? 0)).toBe(true);
  stranger.kill();
});

test("an initialisation that was cut short is made anew", slow, async () => {
  await using place = await scratch();
  const unfinished = join(place.dataDir, "postgres", "cluster.new-cut");
  await mkdir(unfinished, { recursive: true });
  await writeFile(join(unfinished, "PG_VERSION"), "18\n");

  await using server = await EmbeddedServer.start(place);
  expect(await query(server.url, "SELECT 1 AS n")).toEqual([{ n: 1 }]);
  await expect(stat(unfinished)).rejects.toMatchObject({ code: "ENOENT" });
});

test("data of another major version is refused and left alone", slow, async () => {
  await using place = await scratch();
  await mkdir(place.cluster, { recursive: true });
  await writeFile(join(place.cluster, "PG_VERSION"), "17\n");
  await expect(EmbeddedServer.start(place)).rejects.toThrow(/was written by PostgreSQL 17 .* brings 18/);
  expect(await readFile(join(place.cluster, "PG_VERSION"), "utf8")).toBe("17\n");
});

test("an aborted start leaves neither a process nor a lock", slow, async () => {
  await using place = await scratch();
  const abort = new AbortController();
  const starting = EmbeddedServer.start({ ...place, signal: abort.signal });
  const begun = (names: string[]) => names.some((name) => name.startsWith("cluster.new-"));
  await vi.waitFor(
    async () => expect(begun(await readdir(join(place.dataDir, "postgres")))).toBe(true),
    soon,
  );
  abort.abort(new Error("enough"));
  await expect(starting).rejects.toThrow("enough");
  expect(await serversOf(place.cluster)).toEqual([]);
  await using server = await EmbeddedServer.start(place);
  expect(server.state).toBe("up");
});

test.runIf(process.getuid?.() === 0)("root hands it to an unprivileged account", slow, async () => {
  await using place = await scratch();
  await using server = await EmbeddedServer.start(place);
  for (const pid of await serversOf(place.cluster)) {
    expect((await stat(`/proc/${pid}`)).uid).not.toBe(0);
  }
  expect((await stat(place.cluster)).uid).not.toBe(0);
  expect((await stat(join(place.dataDir, "postgres", "conf", "access.conf"))).uid).toBe(0);
  expect(server.state).toBe("up");
});

async function query(url: string, sql: string): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    const result = await client.query<Record<string, unknown>>(sql);
    return result.rows;
  } finally {
    await client.end();
  }
}

function spawnOwner(dataDir: string, mode = "") {
  const program = new URL("./owner.fixture.ts", import.meta.url).pathname;
  const child = spawn(process.execPath, [program, dataDir, mode], { stdio: ["pipe", "pipe", "inherit"] });
  return { child, line: once(createInterface({ input: child.stdout }), "line") as Promise<[string]> };
}

async function startInChild(dataDir: string, mode = "") {
  const { child, line } = spawnOwner(dataDir, mode);
  const facts: unknown = JSON.parse((await line)[0]);
  return { child, ...(facts as { url: string; pid: number; watcher: number }) };
}

/** Files of a running process only: sockets, lock files of a server, drafts. */
async function passing(dataDir: string): Promise<string[]> {
  const names = await readdir(join(dataDir, "postgres"), { recursive: true });
  return names.filter((name) => /claim\.|\.s\.PGSQL|\.pid$|\.new-/.test(name));
}

/** Named memory of a server, as the kernel lists it: POSIX files and System V segments. */
async function sharedMemoryOf(pid: number): Promise<string[]> {
  const maps = await readFile(`/proc/${pid}/maps`, "latin1");
  const files = [...maps.matchAll(/\/dev\/shm\/(\S+)/g)].map(([, name]) => name ?? "");
  return [...new Set(files), ...(await segmentsOf(pid))];
}

/** @param creator default: anybody's */
async function segmentsOf(creator?: number): Promise<string[]> {
  const rows = (await readFile("/proc/sysvipc/shm", "latin1")).trim().split("\n").slice(1);
  const fields = rows.map((row) => row.trim().split(/\s+/));
  return fields
    .filter((row) => creator === undefined || Number(row[4]) === creator)
    .map(([, id]) => `segment ${id}`);
}

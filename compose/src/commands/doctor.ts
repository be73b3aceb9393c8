/** `linkspan doctor`: is everything there that this configuration needs, and what to do when it is not. */
import { constants } from "node:fs";
import { access, mkdir, stat } from "node:fs/promises";
import { connect as connectTcp } from "node:net";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { Database } from "@linkspan/store";
import type { Config } from "../config.ts";
import type { Output } from "../output.ts";

export interface Finding {
  readonly check: string;
  readonly ok: boolean;
  /** What was seen; when not ok, what to do about it. */
  readonly detail: string;
}

const TIMEOUT_MS = 3_000;

/** @returns true when nothing is amiss */
export async function doctor(config: Config, out: Output): Promise<boolean> {
  const findings = await Promise.all([
    node(),
    dataDirectory(config),
    database(config),
    reachable("broker", config.amqp_url, "RabbitMQ", 5_672),
    reachable("redis", config.redis_url, "Redis", 6_379),
    running(config),
  ]);
  for (const finding of findings) {
    out.result(
      finding,
      `${finding.ok ? out.good("ok ") : out.bad("bad")} ${finding.check}: ${finding.detail}`,
    );
  }
  return findings.every((finding) => finding.ok);
}

async function node(): Promise<Finding> {
  const major = Number(process.versions.node.split(".")[0]);
  const ok = major >= 24;
  return {
    check: "node",
    ok,
    detail: ok
      ? process.versions.node
      : `${process.versions.node}; run through npm scripts, which bring Node 24`,
  };
}

async function dataDirectory({ data }: Config): Promise<Finding> {
  const check = "data directory";
  try {
    await mkdir(data, { recursive: true, mode: 0o700 });
    await access(data, constants.W_OK);
    const key = await stat(join(data, "core.seed")).catch(() => undefined);
    if (key !== undefined && (key.mode & 0o077) !== 0) {
      return { check, ok: false, detail: `keys in ${data} are readable by others; chmod 600 them` };
    }
    return { check, ok: true, detail: data };
  } catch (error) {
    return {
      check,
      ok: false,
      detail: `${data} cannot be written (${(error as Error).message}); set LINKSPAN_DATA`,
    };
  }
}

async function database(config: Config): Promise<Finding> {
  const check = "database";
  if (config.database_url === undefined) return { check, ok: true, detail: "brings its own PostgreSQL" };
  await using store = new Database(config.database_url, { maxConnections: 1 });
  try {
    const { rows } = await store.query<{ version: string }>(
      "SELECT current_setting('server_version_num') AS version",
    );
    const version = Number(rows[0]?.version ?? 0);
    const ok = version >= 150_000;
    return {
      check,
      ok,
      detail: ok ? `PostgreSQL ${version}` : `PostgreSQL ${version}; 15 or newer is needed`,
    };
  } catch (error) {
    return { check, ok: false, detail: `${(error as Error).message}; check LINKSPAN_DATABASE_URL` };
  }
}

async function reachable(
  check: string,
  url: string | undefined,
  name: string,
  port: number,
): Promise<Finding> {
  if (url === undefined)
    return { check, ok: true, detail: `no ${name} configured; the embedded part is used` };
  const { hostname, port: given } = new URL(url);
  const ok = await dials(hostname, Number(given || port));
  return {
    check,
    ok,
    detail: ok
      ? `${name} answers at ${hostname}`
      : `${name} does not answer at ${hostname}:${given || port}; start it or mend the URL`,
  };
}

async function dials(host: string, port: number): Promise<boolean> {
  const socket = connectTcp({ host, port });
  try {
    return await Promise.race([
      new Promise<boolean>((resolve) => {
        socket.once("connect", () => resolve(true));
        socket.once("error", () => resolve(false));
      }),
      pause(TIMEOUT_MS, false),
    ]);
  } finally {
    socket.destroy();
  }
}

/** Not an error when nothing runs yet. */
async function running(config: Config): Promise<Finding> {
  const check = "linkspan";
  const url = config.core_url ?? `http://${config.host}:${config.port}`;
  try {
    const response = await fetch(`${url}/health/ready`, { signal: AbortSignal.timeout(TIMEOUT_MS) });
    const body = (await response.json()) as { checks?: Record<string, { ok: boolean; detail?: string }> };
    const bad = Object.entries(body.checks ?? {}).filter(([, one]) => !one.ok);
    const detail = bad.map(([name, one]) => `${name}: ${one.detail ?? "not ready"}`).join("; ");
    return { check, ok: response.ok, detail: response.ok ? `ready at ${url}` : detail };
  } catch {
    return { check, ok: true, detail: `not running at ${url}` };
  }
}

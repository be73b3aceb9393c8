/** The HTTP API over a core, its metrics, and the owner's token for commands on the same machine. */
import { open, readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import {
  type ApiOptions,
  hashToken,
  newToken,
  prometheusMetrics,
  type ReadinessCheck,
  startApi,
} from "@linkspan/api";
import { apiToken, insertApiToken } from "@linkspan/store";
import { mediaOf } from "@linkspan/worker";
import type { Logger } from "pino";
import { Registry } from "prom-client";
import { TOKEN_FILE, URL_FILE } from "../client.ts";
import { type Config, ConfigError } from "../config.ts";
import type { OpenCore } from "./core.ts";

export function newMetrics() {
  const registry = new Registry();
  return { registry, metrics: prometheusMetrics(registry) };
}

/** @returns the API's URL */
export async function runApi(
  { core }: OpenCore,
  config: Config,
  registry: Registry,
  checks: readonly ReadinessCheck[],
  log: Logger,
  stack: AsyncDisposableStack,
): Promise<string> {
  await ensureOwner(core.database.pool, config.data);
  const { host, port } = config;
  const api = stack.use(
    await startApi(core, {
      host,
      port,
      registry,
      checks: [...checks, mediaCheck(core)],
      log,
      ...boundsOf(config),
    }).catch((error: unknown) => {
      throw explained(error, host, port);
    }),
  );
  await writeFile(join(config.data, URL_FILE), `${api.url}\n`);
  return api.url;
}

/** Messages go on without media, so the other processes of the core are not affected. */
function mediaCheck(core: OpenCore["core"]): ReadinessCheck {
  return {
    name: "media",
    help: "look at the directory or the S3 service of media, and its free space",
    check: async () => {
      await mediaOf(core).store.check();
      return { ok: true, detail: "objects can be stored" };
    },
  };
}

function boundsOf(config: Config): Pick<ApiOptions, "trustProxy" | "limits"> {
  const burst = (perSecond: number, times: number) => ({
    perSecond,
    burst: Math.max(1, Math.ceil(perSecond * times)),
  });
  return {
    trustProxy: config.trust_proxy,
    limits: {
      perToken: burst(config.api_rate_token, 5),
      perWorkspace: burst(config.api_rate_workspace, 5),
      anonymous: burst(config.api_rate_address, 4),
      connections: config.api_connections,
      connectionsPerAddress: config.api_connections_address,
      streams: config.api_streams,
      streamsPerToken: config.api_streams_token,
      transfers: config.media_transfers,
      transfersPerWorkspace: config.media_transfers_workspace,
    },
  };
}

/** Writes the owner's token on first start; keeps the file if the database still knows the token. */
async function ensureOwner(pool: Parameters<typeof apiToken>[0], data: string): Promise<void> {
  const path = join(data, TOKEN_FILE);
  const known = await readFile(path, "utf8").catch(() => undefined);
  if (known !== undefined && (await apiToken(pool, hashToken(known.trim()))) !== undefined) return;
  const token = newToken();
  const draft = await open(`${path}.new`, "w", 0o600);
  await draft.chmod(0o600);
  await draft.writeFile(`${token}\n`);
  await draft.close();
  await insertApiToken(pool, hashToken(token), {
    name: `owner-${Date.now()}`,
    workspace_id: "*",
    role: "owner",
  });
  await rename(`${path}.new`, path);
}

function explained(error: unknown, host: string, port: number): unknown {
  if (!(error instanceof Error && "syscall" in error && error.syscall === "listen")) return error;
  const { code } = error as NodeJS.ErrnoException;
  const why = code === "EADDRINUSE" ? "is in use by another program" : `cannot be listened on (${code})`;
  return new ConfigError(`port: ${host}:${port} ${why}; set LINKSPAN_PORT, or LINKSPAN_HOST`, {
    cause: error,
  });
}

/** The HTTP API over a core, its metrics, and the owner's token for the commands beside it. */
import { createHash, randomBytes } from "node:crypto";
import { open, readFile } from "node:fs/promises";
import { join } from "node:path";
import { prometheusMetrics, startApi } from "@linkspan/api";
import { apiToken, insertApiToken } from "@linkspan/store";
import type { Logger } from "pino";
import { Registry } from "prom-client";
import { TOKEN_FILE } from "../client.ts";
import type { Config } from "../config.ts";
import type { OpenCore } from "./core.ts";

export function newMetrics() {
  const registry = new Registry();
  return { registry, metrics: prometheusMetrics(registry) };
}

/** @returns the API's URL */
export async function runApi(
  { core, vault }: OpenCore,
  config: Config,
  registry: Registry,
  log: Logger,
  stack: AsyncDisposableStack,
): Promise<string> {
  await ensureOwner(core.database.pool, config.data);
  const api = stack.use(
    await startApi(core, {
      host: config.host,
      port: config.port,
      registry,
      log,
      vaultHealth: () => vault.health(),
    }),
  );
  return api.url;
}

/** Writes the owner's token on first start; kept if the database still knows it. */
async function ensureOwner(pool: Parameters<typeof apiToken>[0], data: string): Promise<void> {
  const path = join(data, TOKEN_FILE);
  const known = await readFile(path, "utf8").catch(() => undefined);
  if (known !== undefined && (await apiToken(pool, hash(known.trim()))) !== undefined) return;
  const token = `lsp_${randomBytes(32).toString("base64url")}`;
  await insertApiToken(pool, hash(token), { name: `owner-${Date.now()}`, workspace_id: "*", role: "owner" });
  const file = await open(path, "w", 0o600);
  await file.writeFile(`${token}\n`);
  await file.close();
}

function hash(token: string): Uint8Array {
  return createHash("sha256").update(token, "utf8").digest();
}

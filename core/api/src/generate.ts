/** The document as a file, made without a core: routes are registered, none is asked. */
import type { Core } from "@linkspan/worker";
import { Registry } from "prom-client";
import { buildApp } from "./app.ts";
import { httpMetrics } from "./metrics.ts";

export async function openApiText(): Promise<string> {
  const registry = new Registry();
  const core = new Proxy({} as Core, {
    get: (_target, member) => {
      throw new TypeError(`describing the API needs no core, and it asked for ${String(member)}`);
    },
  });
  const stopping = new AbortController().signal;
  const app = await buildApp({ core, registry, metrics: httpMetrics(registry), checks: [], stopping });
  const text = `${JSON.stringify(app.swagger(), undefined, 2)}\n`;
  await app.close();
  return text;
}

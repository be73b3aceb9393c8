/**
 * The files that are generated from the routes and the table of codes. No core is needed: routes are
 * registered, but not called.
 */
import type { Core } from "@linkspan/worker";
import { Registry } from "prom-client";
import { buildApp } from "./app.ts";
import type { Readers } from "./events/readers.ts";
import { httpReference, type OpenApi } from "./http-reference.ts";
import { Admission } from "./limits/admission.ts";
import { DEFAULT_LIMITS } from "./limits/limits.ts";
import { httpMetrics } from "./metrics.ts";
import { problemsMarkdown } from "./problem-pages.ts";

/** Path from the root of the repository to content. */
export async function generatedFiles(): Promise<ReadonlyMap<string, string>> {
  const openApi = await openApiText();
  return new Map([
    ["core/api/generated/openapi.json", openApi],
    ["docs/http.md", httpReference(JSON.parse(openApi) as OpenApi)],
    ["docs/problems.md", problemsMarkdown()],
  ]);
}

export async function openApiText(): Promise<string> {
  const registry = new Registry();
  const core = new Proxy({} as Core, {
    get: (_target, member) => {
      throw new TypeError(`describing the API needs no core, and it asked for ${String(member)}`);
    },
  });
  const stopping = new AbortController().signal;
  const admission = new Admission(DEFAULT_LIMITS);
  const readers = {} as Readers;
  const parts = {
    core,
    registry,
    metrics: httpMetrics(registry),
    admission,
    limits: DEFAULT_LIMITS,
    readers,
    checks: [],
    stopping,
  };
  const app = await buildApp(parts, { limits: DEFAULT_LIMITS });
  const text = `${JSON.stringify(app.swagger(), undefined, 2)}\n`;
  await app.close();
  return text;
}

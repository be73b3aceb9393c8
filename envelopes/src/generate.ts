/**
 * Writes `generated/`: JSON Schemas and the reference page, from the Zod schemas and the tables they stand
 * in. Run it after a change: `npx node envelopes/src/generate.ts`. A test fails when what is committed differs.
 */
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { z } from "zod";
import { actionsOf, SERVICES } from "./names/actions.ts";
import { EnvelopeSchema } from "./codec/envelope.ts";
import { KeyRecordSchema } from "./payloads/core.ts";
import { reference } from "./reference.ts";

export const GENERATED = fileURLToPath(new URL("../generated/", import.meta.url));

/** Path below `generated/` to content. */
export function generate(): ReadonlyMap<string, string> {
  const files = new Map<string, string>();
  files.set("schemas/envelope.json", pretty(toJsonSchema(EnvelopeSchema, "Envelope")));
  files.set("schemas/key-record.json", pretty(toJsonSchema(KeyRecordSchema, "Key record")));
  for (const service of SERVICES) files.set(`schemas/${service}.json`, pretty(serviceSchema(service)));
  files.set("reference.md", reference());
  return files;
}

/** One document per service: `$defs` holds each action's payload, and its answer as `<action>.reply`. */
function serviceSchema(service: string): object {
  const defs: Record<string, unknown> = {};
  for (const { name, payload, reply } of actionsOf(service)) {
    defs[name] = bare(payload);
    if (reply !== undefined) defs[`${name}.reply`] = bare(reply);
  }
  return {
    $schema: "https://json-schema.org/draft/2020-12/schema",
    title: `Payloads of ${service}`,
    $defs: defs,
  };
}

function toJsonSchema(schema: z.ZodType, title: string): object {
  const { $schema, ...rest } = z.toJSONSchema(schema, { unrepresentable: "any" });
  return { $schema, title, ...rest };
}

function bare(schema: z.ZodType): object {
  const { $schema: _same, ...rest } = z.toJSONSchema(schema, { unrepresentable: "any" });
  return rest;
}

function pretty(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  rmSync(GENERATED, { recursive: true, force: true });
  for (const [path, content] of generate()) {
    const file = join(GENERATED, path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, content);
  }
}

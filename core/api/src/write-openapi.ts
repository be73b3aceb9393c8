/** Writes generated/openapi.json, docs/http.md and docs/problems.md; run it after changing a route, a view or a code. */
import { writeFile } from "node:fs/promises";
import { generatedFiles } from "./generate.ts";

for (const [path, text] of await generatedFiles()) {
  await writeFile(new URL(`../../../${path}`, import.meta.url), text);
}

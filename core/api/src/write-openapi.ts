/** Writes generated/openapi.json; run it after changing a route or a view. */
import { writeFile } from "node:fs/promises";
import { openApiText } from "./generate.ts";

await writeFile(new URL("../generated/openapi.json", import.meta.url), await openApiText());

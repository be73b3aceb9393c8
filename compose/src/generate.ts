/** Writes the files that are generated from this package: `npx node compose/src/generate.ts`. */
import { writeFileSync } from "node:fs";
import { envExample } from "./config.ts";

writeFileSync(new URL("../../.env.example", import.meta.url), envExample());

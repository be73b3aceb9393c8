/**
 * Entry point of the `linkspan` command. Compiled code is cached beside the packages, so that filters start
 * quickly.
 */
import { enableCompileCache } from "node:module";
import { fileURLToPath } from "node:url";

enableCompileCache(fileURLToPath(new URL("../../node_modules/.cache/linkspan", import.meta.url)));
const { run } = await import("./program.ts");
process.exitCode = await run(process.argv, process.env);

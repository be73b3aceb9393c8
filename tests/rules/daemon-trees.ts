/** Every daemon is the same tree, so that who knows one knows all. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

const FILES = [
  "README.md",
  "package.json",
  "src/main.ts",
  "src/config.ts",
  "src/connector.ts",
  "src/client.ts",
  "src/inbound.ts",
  "src/outbound.ts",
  "src/capabilities.ts",
  "src/errors.ts",
] as const;

/** The mappings have one name in all daemons. */
const EXPORTS = [
  ["src/inbound.ts", "toEvents"],
  ["src/outbound.ts", "toParts"],
] as const;

const MAIN_MAX_LINES = 40;

/** @returns what differs from the tree, a line each */
export function daemonTreeFaults(root: string): string[] {
  return readdirSync(join(root, "daemons"), { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && entry.name !== "kit")
    .flatMap(({ name }) => {
      const directory = join("daemons", name);
      const faults = FILES.filter((file) => !existsSync(join(root, directory, file))).map(
        (file) => `${join(directory, file)} is missing`,
      );
      const main = join(directory, "src/main.ts");
      const lines = existsSync(join(root, main))
        ? readFileSync(join(root, main), "utf8").trimEnd().split("\n").length
        : 0;
      if (lines > MAIN_MAX_LINES) faults.push(`${main} has ${lines} lines, more than ${MAIN_MAX_LINES}`);
      for (const [file, mapping] of EXPORTS) {
        const source = join(root, directory, file);
        const declared = new RegExp(`^export (?:function|const) ${mapping}\\b`, "m");
        if (existsSync(source) && !declared.test(readFileSync(source, "utf8")))
          faults.push(`${join(directory, file)} exports no ${mapping}`);
      }
      return faults;
    });
}

import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";

/** What git tracks or would track, as paths from `root`; what is deleted but not yet committed is left out. */
export function sourceFiles(root: string, ...patterns: string[]): string[] {
  const options = ["ls-files", "--cached", "--others", "--exclude-standard", "-z", "--", ...patterns];
  const listed = execFileSync("git", options, { cwd: root, encoding: "utf8" }).split("\0").filter(Boolean);
  return [...new Set(listed)].filter((file) => existsSync(join(root, file))).sort();
}

/** Tests, contract suites, what they share, and everything under tests/. They may use development dependencies. */
export const TEST_CODE = String.raw`(^tests/|(^|/)(testing|contract)/|\.(test|suite|fixture)\.ts$|^vitest\.config\.ts$)`;

/**
 * The contract as another language reads it: Python code that was written from envelopes/CONTRACT.md and
 * envelopes/DAEMONS.md, and shares nothing with this repository's packages, agrees with every vector.
 */
import { execFileSync } from "node:child_process";
import { expect, test } from "vitest";
import { describeWithServers, executable } from "../../servers/available.ts";

/** An interpreter starts in a moment, but not on a machine that is busy. */
const PATIENCE_MS = 60_000;

describeWithServers(["python"], "the contract, read in Python", () => {
  test(
    "envelopes, ids, tickets, sealed credentials and PAE are those of the vectors",
    () => {
      const args = ["-m", "unittest", "discover", "--start-directory", "."];
      const cwd = import.meta.dirname;
      // It ends with an error when a case fails.
      expect(() => execFileSync(executable("python"), args, { cwd, stdio: "pipe" })).not.toThrow();
    },
    PATIENCE_MS,
  );
});

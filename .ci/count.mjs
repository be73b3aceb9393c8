// Sums vitest's JSON reports and names what failed: `node count.mjs DIRECTORY BROKEN_STEPS`.
// Plain JavaScript: it runs on any Node.
import { readdirSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import { argv, cwd, exit } from "node:process";

const [, , directory, brokenSteps] = argv;
const reports = readdirSync(directory).map((file) => JSON.parse(readFileSync(join(directory, file), "utf8")));
const sum = (count) => reports.reduce((total, report) => total + count(report), 0);

/** A file that could not be read has no tests, and is a failure. */
const unread = ({ testResults }) =>
  testResults.filter(
    (file) => file.status === "failed" && !file.assertionResults.some((t) => t.status === "failed"),
  ).length;

/** The first lines of each failure: the end of a long log is what people are shown. */
const MESSAGE_LINES = 12;
const beginning = (message) => message.split("\n").slice(0, MESSAGE_LINES).join("\n    ");

for (const { testResults } of reports) {
  for (const { name, message, status, assertionResults } of testResults) {
    const failures = assertionResults.filter((test) => test.status === "failed");
    for (const test of failures) {
      console.log(`failed: ${relative(cwd(), name)} > ${test.fullName}`);
      console.log(`    ${beginning(test.failureMessages.join("\n"))}`);
    }
    if (status === "failed" && failures.length === 0) {
      console.log(`failed: ${relative(cwd(), name)}\n    ${beginning(message ?? "")}`);
    }
  }
}

const passed = sum((report) => report.numPassedTests);
const skipped = sum((report) => report.numPendingTests + report.numTodoTests);
const failedTests = sum((report) => report.numFailedTests + unread(report));
// A step that broke without a failed test (a formatter, a compiler, an install) counts as one failure.
const failed = Math.max(failedTests, Number(brokenSteps)) || (reports.length === 0 || passed === 0 ? 1 : 0);

console.log(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`);
exit(failed === 0 ? 0 : 1);

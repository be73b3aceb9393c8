// Sums vitest's JSON reports and names what failed: `node count.mjs DIRECTORY BROKEN_STEPS`.
// Plain JavaScript: it runs on any Node.
import { readdirSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import { argv, cwd, exit } from "node:process";

const [, , directory, brokenSteps] = argv;
const reports = readdirSync(directory).map((file) => JSON.parse(readFileSync(join(directory, file), "utf8")));
const sum = (count) => reports.reduce((total, report) => total + count(report), 0);

/** The first lines of each failure: the end of a long log is what people are shown. */
const MESSAGE_LINES = 12;
const told = (title, message) =>
  `failed: ${title}\n    ${message.split("\n").slice(0, MESSAGE_LINES).join("\n    ")}`;

/** The failed tests of a file; one that could not be read has no tests, and is a failure itself. */
function failuresOf({ name, message, status, assertionResults }) {
  const file = relative(cwd(), name);
  const failures = assertionResults
    .filter((test) => test.status === "failed")
    .map((test) => told(`${file} > ${test.fullName}`, test.failureMessages.join("\n")));
  return status === "failed" && failures.length === 0 ? [told(file, message ?? "")] : failures;
}

const failures = reports.flatMap(({ testResults }) => testResults.flatMap(failuresOf));
for (const failure of failures) console.log(failure);

const passed = sum((report) => report.numPassedTests);
const skipped = sum((report) => report.numPendingTests + report.numTodoTests);
// A step that broke without a failed test (a formatter, a compiler, an install) counts as one failure.
const failed =
  Math.max(failures.length, Number(brokenSteps)) || (reports.length === 0 || passed === 0 ? 1 : 0);

console.log(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`);
exit(failed === 0 ? 0 : 1);

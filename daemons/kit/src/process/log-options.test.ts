import { type Logger, pino } from "pino";
import { expect, test } from "vitest";
import { LOG_OPTIONS } from "./log-options.ts";

const SECRET = "hunter2";

test.each<[string, (log: Logger, error: Error) => void]>([
  ["under err, without a text", (log, err) => log.error({ event: "x", err })],
  ["under err, with a text", (log, err) => log.error({ err }, "a text")],
  ["of a child", (log, err) => log.child({ service: "irc" }).error({ err })],
  ["by itself", (log, err) => log.error(err)],
  ["by itself, with a text", (log, err) => log.error(err, "a text")],
])("a line never holds the message of another library's error: %s", (_what, write) => {
  const lines: string[] = [];
  const log: Logger = pino(LOG_OPTIONS, { write: (line: string) => void lines.push(line) });
  write(log, new TypeError(`PASS ${SECRET}`));
  expect(lines).toHaveLength(1);
  expect(lines[0]).not.toContain(SECRET);
  expect(lines[0]).toContain("TypeError");
});

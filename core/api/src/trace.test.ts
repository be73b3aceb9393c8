import { expect, test } from "vitest";
import { foreignTrace } from "./trace.ts";

const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN = "00f067aa0ba902b7";

test("a sound traceparent names the caller's trace", () => {
  expect(foreignTrace(`00-${TRACE}-${SPAN}-01`)).toBe(TRACE);
});

test.each([
  undefined,
  "",
  ["a", "b"],
  `00-${TRACE}-${SPAN}-01-more`,
  `01-${TRACE}-${SPAN}-01`,
  `00-${TRACE.toUpperCase()}-${SPAN}-01`,
  `00-${"0".repeat(32)}-${SPAN}-01`,
  `00-${TRACE}-${"0".repeat(16)}-01`,
  `00-${TRACE}-${SPAN}-01\n`,
])("%s names none", (header) => {
  expect(foreignTrace(header)).toBeUndefined();
});

import { FabricError } from "@linkspan/envelopes";
import { expect, test } from "vitest";
import { describeError } from "./describe-error.ts";

const SECRET = "hunter2";

test.each([
  ["in one line", `PASS ${SECRET}`],
  ["in the second line", `refused:\nPASS ${SECRET}`],
  ["in a line that looks like a call", `refused:\n    at ${SECRET} (/x/y.ts:1:1)`],
  ["as all of it", SECRET],
])("of another library's error the message is left out: %s", (_what, message) => {
  const described = describeError(new TypeError(message, { cause: new Error(message) }));
  expect(JSON.stringify(described)).not.toContain(SECRET);
  expect(described).toMatchObject({ name: "TypeError", cause: { name: "Error" } });
  expect(JSON.stringify(described["stack"])).toContain("describe-error.test.ts");
});

test("an error whose message was changed after it was thrown", () => {
  const error = new Error(`PASS ${SECRET}\nPASS ${SECRET}`);
  error.message = "other";
  expect(JSON.stringify(describeError(error))).not.toContain(SECRET);
});

test("our own error says what it is, also as a cause", () => {
  const own = new FabricError("bus.unavailable", "the broker is away");
  expect(describeError(new Error("x", { cause: own }))).toMatchObject({
    cause: { name: "FabricError", code: "bus.unavailable", message: "the broker is away" },
  });
});

test("a chain of causes has an end, and so has what is no error", () => {
  const looped = new Error("x");
  looped.cause = looped;
  expect(JSON.stringify(describeError(looped)).length).toBeLessThan(10_000);
  expect(describeError(`PASS ${SECRET}`)).toEqual({ name: "string" });
});

import { isFabricError } from "@linkspan/envelopes";
import { expect, test } from "vitest";
import { DEFAULT_INTENT_LIMITS, requireFit } from "./room.ts";

function codeOf(payload: Record<string, unknown>): string | undefined {
  try {
    requireFit(payload);
  } catch (error) {
    return isFabricError(error) ? error.code : String(error);
  }
  return undefined;
}

const { textBytes, parts } = DEFAULT_INTENT_LIMITS;

test.each([
  ["text", { text: "x".repeat(textBytes + 1) }],
  ["text of many bytes and few characters", { text: "€".repeat(Math.ceil(textBytes / 3) + 1) }],
  ["a service's own member", { body: "x".repeat(textBytes + 1) }],
  ["texts that are too large together", { text: "x".repeat(textBytes), reason: "x" }],
  ["texts within a member", { content: { body: "x".repeat(textBytes * 4) } }],
  ["texts in a list", { arguments: Array.from({ length: 5 }, () => "x".repeat(textBytes)) }],
  [
    "formatting",
    { text: "x", entities: Array.from({ length: 10_000 }, () => ({ type: "bold", offset: 0, length: 1 })) },
  ],
  ["lines", { text: "\n".repeat(parts) }],
  ["attachments", { text: "", media: Array.from({ length: parts }, () => ({})) }],
])("an intent is bounded at the door: too many %s", (_what, payload) => {
  expect(codeOf(payload)).toBe("intent.too_large");
});

test("an intent of the largest size is taken", () => {
  expect(codeOf({ text: "x".repeat(textBytes) })).toBeUndefined();
  expect(codeOf({ text: "\n".repeat(parts - 1) })).toBeUndefined();
});

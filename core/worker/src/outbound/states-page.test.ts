import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { statesPage } from "./states-page.ts";

test("docs/intents.md is what the table of states makes it", () => {
  expect(readFileSync(new URL("../../../../docs/intents.md", import.meta.url), "utf8")).toBe(statesPage());
});

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { actionsOf, SERVICES } from "./names/actions.ts";
import { CODES } from "./errors/errors.ts";
import { GENERATED, generate } from "./generate.ts";

const files = generate();

test.each([...files])("%s is what the schemas say (npx node envelopes/src/generate.ts)", (path, content) => {
  expect(readFileSync(join(GENERATED, path), "utf8")).toBe(content);
});

test("nothing else lies there", () => {
  const found = readdirSync(GENERATED, { recursive: true, withFileTypes: true }).filter((entry) =>
    entry.isFile(),
  );
  expect(found).toHaveLength(files.size);
});

test("the reference names every action and every code", () => {
  const page = files.get("reference.md") ?? "";
  for (const { name } of SERVICES.flatMap(actionsOf)) expect(page).toContain(`\`${name}\``);
  for (const code of Object.keys(CODES)) expect(page).toContain(`| \`${code}\` |`);
});

test("closed objects are closed in JSON Schema too, open ones are objects", () => {
  const irc = JSON.parse(files.get("schemas/irc.json") ?? "{}") as {
    $defs: Record<string, Record<string, unknown>>;
  };
  expect(irc.$defs.inbound_event).toMatchObject({
    additionalProperties: false,
    properties: {
      native: { type: "object" },
      sent_at: { type: "string", pattern: expect.any(String) as string },
    },
  });
});

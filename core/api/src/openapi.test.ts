import { readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { PERMISSIONS } from "./auth/permissions.ts";
import { generatedFiles } from "./generate.ts";

interface Document {
  readonly paths: Record<string, Record<string, Operation>>;
  readonly components: { readonly schemas: Record<string, object> };
}
interface Operation {
  readonly operationId?: string;
  readonly summary?: string;
  readonly responses: Record<string, object>;
}

const files = await generatedFiles();
const text = files.get("core/api/generated/openapi.json") ?? "";
const { paths, components } = JSON.parse(text) as Document;
const operations = Object.entries(paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => ({
    route: `${method.toUpperCase()} ${path.replace(/\{(\w+)\}/g, ":$1")}`,
    operation,
  })),
);

test.each([...files.keys()])("%s is the one that the routes and codes make", async (path) => {
  const committed = await readFile(new URL(`../../../${path}`, import.meta.url), "utf8");
  expect(committed, "run: npx node core/api/src/write-openapi.ts").toBe(files.get(path));
});

test("the HTTP reference has every route and every schema", () => {
  const reference = files.get("docs/http.md") ?? "";
  const titles = reference.split("\n").filter((line) => line.startsWith("### "));
  const routes = operations.map(({ route }) => route.replace(/:(\w+)/g, "{$1}"));
  expect(titles).toEqual(expect.arrayContaining(routes.map((route) => `### ${route}`)));
  expect(titles).toHaveLength(routes.length + Object.keys(components.schemas).length);
});

test("every route that somebody may ask exists, and is described", () => {
  const described = operations.map(({ route }) => route);
  const open = Object.keys(PERMISSIONS).filter((route) => route !== "GET /openapi.json");
  expect(described.toSorted()).toEqual(open.toSorted());
});

test("every operation has a name of its own, a summary and its problems", () => {
  const names = operations.map(({ operation }) => operation.operationId);
  expect(new Set(names).size).toBe(operations.length);
  for (const { route, operation } of operations) {
    expect(operation.operationId, route).toBeDefined();
    expect(operation.summary, route).toBeDefined();
    expect(Object.keys(operation.responses), route).toEqual(expect.arrayContaining(["4XX", "5XX"]));
  }
});

test("no answer has a member for a ticket, a credential or a private key", () => {
  const members = [...text.matchAll(/"([a-z_]+)": \{/g)].map(([, name]) => name);
  expect(members.filter((name) => /ticket|secret|private|seed|password/.test(name ?? ""))).toEqual([]);
});

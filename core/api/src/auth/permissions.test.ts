import type { Role } from "@linkspan/store";
import { expect, test } from "vitest";
import { allowedOn, mayGrant, PERMISSIONS } from "./permissions.ts";

test("an owner may do all that anybody may; only a one-time token or a link of media does without a token", () => {
  for (const [route, allowed] of Object.entries(PERMISSIONS)) {
    if (allowed !== "anyone") expect(allowed, route).toContain("owner");
  }
  const open = Object.keys(PERMISSIONS).filter((route) => PERMISSIONS[route] === "anyone");
  expect(open.filter((route) => route.includes("/v1/")).toSorted()).toEqual([
    "GET /v1/media/links/:link",
    "HEAD /v1/media/links/:link",
    "POST /v1/enrolments",
  ]);
});

test("a route that nobody decided on is refused", () => {
  expect(() => allowedOn("GET", "/v1/forgotten")).toThrow(TypeError);
});

test("only owners and admins hand out roles, and never one above their own", () => {
  const roles: Role[] = ["owner", "admin", "operator", "auditor", "backend"];
  const grants = roles.map((own) => roles.filter((other) => mayGrant(own, other)));
  expect(grants).toEqual([roles, roles.slice(1), [], [], []]);
});

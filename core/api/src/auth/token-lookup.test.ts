import { createHash } from "node:crypto";
import { FabricError } from "@linkspan/envelopes";
import type { ApiToken } from "@linkspan/store";
import { expect, test } from "vitest";
import { TokenLookup } from "./token-lookup.ts";

const token: ApiToken = { name: "shop", workspace_id: "acme", role: "backend" };
const hashOf = (text: string) => createHash("sha256").update(text).digest();

test("a flood of guesses is a few statements, and a valid token in its middle is found", async () => {
  const good = hashOf("good");
  const sizes: number[] = [];
  let beside = 0;
  const lookup = new TokenLookup(async (hashes) => {
    beside += 1;
    expect(beside).toBe(1);
    sizes.push(hashes.length);
    await new Promise((resolve) => setImmediate(resolve));
    beside -= 1;
    return new Map([[good.toString("hex"), token]]);
  });
  const guesses = Array.from({ length: 2_000 }, (_, i) => lookup.find(hashOf(`guess ${i}`)));
  const found = lookup.find(good);
  expect(await found).toEqual(token);
  expect(new Set(await Promise.all(guesses))).toEqual(new Set([undefined]));
  expect(sizes.length).toBeLessThan(10);
  expect(Math.max(...sizes)).toBeLessThanOrEqual(500);
});

test("each asks anew: what is revoked between two questions is not found by the second", async () => {
  let inForce = true;
  const hash = hashOf("good");
  const lookup = new TokenLookup(async () => new Map(inForce ? [[hash.toString("hex"), token]] : []));
  expect(await lookup.find(hash)).toEqual(token);
  inForce = false;
  expect(await lookup.find(hash)).toBeUndefined();
});

test("a database that is away fails who asks now, and nobody later", async () => {
  let away = true;
  const lookup = new TokenLookup(async () => {
    if (away) throw new FabricError("store.unavailable", "away");
    return new Map();
  });
  const asked = await Promise.allSettled([lookup.find(hashOf("a")), lookup.find(hashOf("b"))]);
  expect(asked.map(({ status }) => status)).toEqual(["rejected", "rejected"]);
  away = false;
  expect(await lookup.find(hashOf("a"))).toBeUndefined();
});

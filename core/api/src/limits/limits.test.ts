/** Limits of one caller: rates, places, addresses. Clocks are arguments, so no test waits. */
import { FabricError } from "@linkspan/envelopes";
import { expect, test } from "vitest";
import { Admission } from "./admission.ts";
import { clientOf, inRanges } from "./client-address.ts";
import { DEFAULT_LIMITS } from "./limits.ts";
import { Places } from "./places.ts";
import { RateLimiter } from "./rate-limiter.ts";

const socket = { remoteAddress: "10.0.0.1" };

test("a rate lets a burst through, then one per interval, and says how long to wait", () => {
  const limiter = new RateLimiter({ perSecond: 10, burst: 3 }, 10);
  expect([0, 0, 0].map((ms) => limiter.take("a", ms))).toEqual([0, 0, 0]);
  expect(limiter.take("a", 0)).toBeCloseTo(100);
  expect(limiter.take("a", 60)).toBeCloseTo(40);
  expect(limiter.take("b", 0)).toBe(0);
  expect(limiter.take("a", 100)).toBe(0);
  expect(limiter.take("a", 100)).toBeCloseTo(100);
  expect([400, 400, 400, 400].map((ms) => limiter.take("a", ms) > 0)).toEqual([false, false, false, true]);
});

test("who asks while refused does not wait longer for it", () => {
  const limiter = new RateLimiter({ perSecond: 1, burst: 1 }, 10);
  limiter.take("a", 0);
  for (let ms = 0; ms < 1_000; ms += 10) expect(limiter.take("a", ms)).toBeGreaterThan(0);
  expect(limiter.take("a", 1_000)).toBe(0);
});

test("memory is bounded by keys: the least recently used is forgotten, whoever keeps asking is not", () => {
  const limiter = new RateLimiter({ perSecond: 0.001, burst: 1 }, 100);
  limiter.take("flood", 0);
  for (let i = 0; i < 10_000; i++) {
    limiter.take(`other${i}`, 0);
    expect(limiter.take("flood", 0)).toBeGreaterThan(0);
  }
  expect(limiter.size).toBe(100);
});

test("what has happened already is counted also when nothing is left, and waits for 10 s at most", () => {
  const limiter = new RateLimiter({ perSecond: 1, burst: 2 }, 10);
  for (let i = 0; i < 6; i++) limiter.charge("a", 0);
  expect(limiter.waitMs("a", 0)).toBeCloseTo(5_000);
  expect(limiter.waitMs("a", 5_000)).toBe(0);
  for (let i = 0; i < 10_000; i++) limiter.charge("b", 0);
  expect(limiter.waitMs("b", 0)).toBeLessThanOrEqual(11_000);
  expect(limiter.waitMs("c", 0)).toBe(0);
});

test("a cost is taken from the budget as a whole", () => {
  const limiter = new RateLimiter({ perSecond: 100, burst: 1_000 }, 10);
  expect(limiter.take("a", 0, 900)).toBe(0);
  expect(limiter.take("a", 0, 500)).toBe(0);
  expect(limiter.take("a", 0)).toBeGreaterThan(3_900);
  expect(limiter.take("a", 4_100)).toBe(0);
});

test("places are bounded in all and for each key, and are given back once", () => {
  const places = new Places(3);
  const one = (key: string) => places.take(new Map([[key, 2]]));
  const first = one("a");
  expect(one("a")).toBeDefined();
  expect(one("a")).toBeUndefined();
  expect(one("b")).toBeDefined();
  expect(one("c")).toBeUndefined();
  first?.();
  first?.();
  expect(places.count).toBe(2);
  expect(one("a")).toBeDefined();
  expect(one("a")).toBeUndefined();
});

const codeOf = (act: () => unknown) => {
  try {
    act();
  } catch (error) {
    return error instanceof FabricError ? [error.code, (error.retryAfterMs ?? 0) > 0] : error;
  }
  return undefined;
};
const REFUSED = ["request.rate_limited", true];
const caller = (tokenKey: string, workspaceId = "acme", countsForWorkspace = true) => ({
  tokenKey,
  workspaceId,
  countsForWorkspace,
});

test("each token, each workspace and each address has a rate of its own", () => {
  const rate = { perSecond: 1, burst: 2 };
  const limits = {
    ...DEFAULT_LIMITS,
    perToken: rate,
    perWorkspace: { perSecond: 1, burst: 3 },
    anonymous: rate,
  };
  const admission = new Admission(limits, () => 0);
  const ask = (...who: Parameters<typeof caller>) => codeOf(() => admission.request(caller(...who))());
  expect([ask("a"), ask("a"), ask("a")]).toEqual([undefined, undefined, REFUSED]);
  expect([ask("b"), ask("b")]).toEqual([undefined, REFUSED]);
  expect(ask("c", "rival")).toBeUndefined();
  expect(ask("staff", "acme", false)).toBeUndefined();
  const anonymous = (client: string) => codeOf(() => admission.anonymous(client));
  expect([anonymous("x"), anonymous("x"), anonymous("x"), anonymous("y")]).toEqual([
    undefined,
    undefined,
    REFUSED,
    undefined,
  ]);
});

test("streams are bounded for each token, each workspace and the process", () => {
  const limits = { ...DEFAULT_LIMITS, streamsPerToken: 1, streamsPerWorkspace: 2, streams: 3 };
  const admission = new Admission(limits, () => 0);
  const open = (token: string, workspace?: string) =>
    codeOf(() => admission.stream(caller(token, workspace)));
  expect([open("a"), open("a"), open("b"), open("c"), open("d", "rival"), open("e", "third")]).toEqual([
    undefined,
    REFUSED,
    undefined,
    REFUSED,
    undefined,
    REFUSED,
  ]);
});

test("requests that are being answered are bounded for each workspace", () => {
  const admission = new Admission({ ...DEFAULT_LIMITS, requestsPerWorkspace: 1 }, () => 0);
  const leave = admission.request(caller("a"));
  expect(codeOf(() => admission.request(caller("b")))).toEqual(REFUSED);
  expect(codeOf(() => admission.request(caller("b", "rival")))).toBeUndefined();
  leave();
  expect(codeOf(() => admission.request(caller("b")))).toBeUndefined();
});

test("a token whose requests are refused for what they say waits; other tokens of its workspace do not", () => {
  let nowMs = 0;
  const admission = new Admission({ ...DEFAULT_LIMITS, mistakes: { perSecond: 1, burst: 3 } }, () => nowMs);
  const ask = (token: string) => codeOf(() => admission.request(caller(token))());
  for (let i = 0; i < 5; i++) admission.mistaken(caller("a"));
  expect([ask("a"), ask("b")]).toEqual([REFUSED, undefined]);
  nowMs = 3_000;
  expect(ask("a")).toBeUndefined();
});

test("bytes of bodies are bounded for each workspace", () => {
  const limits = { ...DEFAULT_LIMITS, bodyBytes: { perSecond: 100, burst: 1_000 } };
  const admission = new Admission(limits, () => 0);
  const read = (workspace: string, bytes: number) =>
    codeOf(() => admission.body(caller("a", workspace), bytes));
  expect([read("acme", 2_000), read("acme", 1), read("rival", 1)]).toEqual([undefined, REFUSED, undefined]);
});

test.each([
  ["192.0.2.1", "192.0.2.1"],
  ["::ffff:192.0.2.1", "192.0.2.1"],
  ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"],
  ["2001:db8:1:2::", "2001:db8:1:2::/64"],
  ["fe80::1%eth0", "fe80::/64"],
  ["what a proxy wrote", "10.0.0.1"],
  ["x".repeat(100_000), "10.0.0.1"],
  ["", "10.0.0.1"],
])("an address is counted under one key of bounded size: %.30s", (ip, key) => {
  expect(clientOf({ ip, socket })).toBe(key);
});

test("a proxy is one whose address is listed, in whichever form it comes", () => {
  const isProxy = inRanges(["10.0.0.0/8", "::1", "192.0.2.7"]);
  const trusted = ["10.255.0.1", "::ffff:10.0.0.1", "::1", "192.0.2.7"].map(isProxy);
  expect(trusted).toEqual([true, true, true, true]);
  const others = ["11.0.0.1", "192.0.2.8", "::2", "", "x", undefined].map(isProxy);
  expect(others).toEqual([false, false, false, false, false, false]);
});

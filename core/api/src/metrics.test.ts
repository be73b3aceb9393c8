import { Registry } from "prom-client";
import { expect, test } from "vitest";
import type { Database } from "@linkspan/store";
import type { Core } from "@linkspan/worker";
import { busMetrics, databaseMetrics, httpMetrics, prometheusMetrics } from "./metrics.ts";

test("what the worker counts is exported under our names, in base units", async () => {
  const registry = new Registry();
  const metrics = prometheusMetrics(registry);
  metrics.events("stored", "irc", 3);
  metrics.events("duplicate", "irc", 0);
  metrics.intent("sent", "irc");
  metrics.quarantined("envelope.schema");
  metrics.inboundBatch(0.004, 20);
  const text = await registry.metrics();
  expect(text).toContain('linkspan_events_total{outcome="stored",service="irc"} 3');
  expect(text).not.toContain("duplicate");
  expect(text).toContain('linkspan_intents_total{state="sent",service="irc"} 1');
  expect(text).toContain('linkspan_quarantined_total{code="envelope.schema"} 1');
  expect(text).toContain('linkspan_inbound_batch_seconds_bucket{le="0.005"} 1');
  expect(text).toContain("linkspan_inbound_batch_size_sum 20");
});

test("a label that came from outside becomes `other`", async () => {
  const registry = new Registry();
  const metrics = prometheusMetrics(registry);
  metrics.events("refused", "evil{}", 1);
  metrics.intent("made_up", "irc");
  metrics.quarantined("toString");
  httpMetrics(registry).answered("BREW", undefined, 404, 0.01);
  const text = await registry.metrics();
  expect(text).not.toMatch(/evil|made_up|toString|BREW/);
  expect(text).toContain('service="other"');
  expect(text).toContain('method="other",route="other",status="404"');
});

test("a scrape tells the age of the oldest transaction and who waits for a connection", async () => {
  const registry = new Registry();
  const answers = [[{ ageMs: 12_000, pid: 1 }], undefined, []];
  const query = () => {
    const rows = answers.shift();
    return rows === undefined ? Promise.reject(new Error("away")) : Promise.resolve({ rows });
  };
  databaseMetrics(registry, {
    pool: { query, totalCount: 6, idleCount: 2, waitingCount: 9 },
  } as unknown as Database);
  const seen = [];
  for (let i = 0; i < 3; i++)
    seen.push(/oldest_transaction_seconds (\d+)/.exec(await registry.metrics())?.[1]);
  // The last value stays while the database is unreachable.
  expect(seen).toEqual(["12", "12", "0"]);
  expect(await registry.metrics()).toContain('linkspan_database_connections{state="waiting"} 9');
});

test("a scrape tells whether the bus moves messages, and how many are stuck", async () => {
  const registry = new Registry();
  const stuck = { queue: "q", messageId: "m", failures: 5, forMs: 1, code: "internal" } as const;
  let health: ReturnType<Core["bus"]["health"]> = { state: "up", stuck: [stuck, stuck] };
  busMetrics(registry, { health: () => health });
  const seen = async () =>
    (await registry.metrics()).split("\n").filter((line) => line.startsWith("linkspan_bus"));
  expect(await seen()).toEqual(["linkspan_bus_up 1", "linkspan_bus_stuck_messages 2"]);
  health = { state: "blocked" };
  expect(await seen()).toEqual(["linkspan_bus_up 0", "linkspan_bus_stuck_messages 0"]);
});

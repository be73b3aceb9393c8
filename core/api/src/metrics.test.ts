import { Registry } from "prom-client";
import { expect, test } from "vitest";
import { httpMetrics, prometheusMetrics } from "./metrics.ts";

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

import { fromBusClock } from "@linkspan/daemon-kit";
import { until } from "@linkspan/daemon-kit/contract";
import { VirtualClock } from "@linkspan/fabric";
import { expect, test } from "vitest";
import { Kept } from "./testing/kept.ts";
import { ScriptedServer } from "./testing/scripted-server.ts";

const START = new Date("2026-01-01T00:00:00Z");

test("a server that is silent for a minute is asked, and given up half a minute later, on the clock that is given", async () => {
  const clock = new VirtualClock(1);
  await using server = await ScriptedServer.listen({ on: (line) => line.startsWith("PING") });
  await using kept = await Kept.open({
    port: server.port,
    // Nothing is joined: an answer to it would come in real time, and count as heard at any time of the clock.
    settings: { channels: [] },
    connector: { clock: fromBusClock(clock, START), retry: { minMs: 10_000, maxMs: 10_000 } },
  });
  await kept.becomes("connected");
  const asked = () => server.client.lines.filter((line) => line.startsWith("PING"));
  await clock.run({ maxMs: 59_999 });
  expect(asked()).toEqual([]);
  await clock.run({ maxMs: 1 });
  await until("the question", () => asked().length === 1);
  await clock.run({ maxMs: 29_999 });
  expect(kept.host.states.at(-1)?.state).toBe("connected");
  await clock.run({ maxMs: 1 });
  await kept.becomes("transient_disconnect");
  const retryMs = (kept.host.states.at(-1)?.retryAt?.getTime() ?? 0) - START.getTime() - 90_000;
  expect(retryMs).toBeGreaterThanOrEqual(5_000);
  expect(retryMs).toBeLessThanOrEqual(10_000);
  // The wait before the next connection is on that clock, too.
  expect(server.clients.length).toBe(1);
  await clock.run({ maxMs: 10_000 });
  await kept.becomes("connected");
  expect(server.clients.length).toBe(2);
}, 30_000);

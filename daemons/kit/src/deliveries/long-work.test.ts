import { ACK, type Delivery, type Prepared, type Verdict } from "@linkspan/fabric";
import pino from "pino";
import { expect, test } from "vitest";
import { systemClock } from "../shared/clock.ts";
import { Jobs, type Work } from "./long-work.ts";

function deliveries(...ids: readonly string[]): Prepared<string>[] {
  const route = { service: "echo", instance: "primary", action: "outbound_message", partition: 0 };
  return ids.map((id) => ({ value: id, delivery: { messageId: id, attempt: 1, route } as Delivery }));
}

function jobsWith(patienceMs = 20, remembered?: number) {
  const end = new AbortController();
  const log = pino({ level: "silent" });
  const jobs = new Jobs({
    clock: systemClock,
    signal: end.signal,
    log,
    patienceMs,
    ...(remembered !== undefined && { remembered }),
  });
  return { jobs, end };
}

/** Work that ends when the test tells it to; `started` counts its runs. */
function workOn(started: string[], endings: Map<string, PromiseWithResolvers<Verdict>>) {
  return ({ value }: Prepared<string>): Work => ({
    key: value,
    run: () => {
      started.push(value);
      const ending = Promise.withResolvers<Verdict>();
      endings.set(value, ending);
      return ending.promise;
    },
  });
}

const laneOf = ({ value }: Prepared<string>) => value[0] ?? "";

test("a slow job is answered retry, is not run twice, and gives its verdict when it has ended", async () => {
  const { jobs } = jobsWith();
  const started: string[] = [];
  const endings = new Map<string, PromiseWithResolvers<Verdict>>();
  const batch = deliveries("a1");
  expect(await jobs.verdicts(batch, laneOf, workOn(started, endings))).toMatchObject([{ do: "retry" }]);
  expect(await jobs.verdicts(batch, laneOf, workOn(started, endings))).toMatchObject([{ do: "retry" }]);
  endings.get("a1")?.resolve(ACK);
  expect(await jobs.verdicts(batch, laneOf, workOn(started, endings))).toEqual([ACK]);
  expect(started).toEqual(["a1"]);
});

test("within a lane the next starts only when the one before is settled; other lanes do not wait", async () => {
  const { jobs } = jobsWith();
  const started: string[] = [];
  const endings = new Map<string, PromiseWithResolvers<Verdict>>();
  const work = (delivery: Prepared<string>) =>
    delivery.value.startsWith("b") ? ACK : workOn(started, endings)(delivery);
  const first = await jobs.verdicts(deliveries("a1", "a2", "b1"), laneOf, work);
  expect(first).toMatchObject([{ do: "retry" }, { do: "retry" }, { do: "ack" }]);
  expect(started).toEqual(["a1"]);
  endings.get("a1")?.resolve(ACK);
  const second = await jobs.verdicts(deliveries("a1", "a2"), laneOf, work);
  expect(second).toMatchObject([{ do: "ack" }, { do: "retry" }]);
  expect(started).toEqual(["a1", "a2"]);
});

test("a lane stops at a job that is to be retried", async () => {
  const { jobs } = jobsWith();
  const work = ({ value }: Prepared<string>): Work => ({
    key: value,
    run: () => Promise.resolve(value === "a1" ? { do: "retry", afterMs: 5 } : ACK),
  });
  const verdicts = await jobs.verdicts(deliveries("a1", "a2"), laneOf, work);
  expect(verdicts).toMatchObject([{ do: "retry", afterMs: 5 }, { do: "retry" }]);
});

test("a job that failed runs again, one that ended does not", async () => {
  const { jobs } = jobsWith();
  let runs = 0;
  const work = (): Work => ({
    key: "a1",
    run: () => {
      runs += 1;
      return runs === 1 ? Promise.reject(new Error("the core is away")) : Promise.resolve(ACK);
    },
  });
  expect(await jobs.verdicts(deliveries("a1"), laneOf, work)).toMatchObject([{ do: "retry" }]);
  expect(await jobs.verdicts(deliveries("a1"), laneOf, work)).toEqual([ACK]);
  expect(await jobs.verdicts(deliveries("a1"), laneOf, work)).toEqual([ACK]);
  expect(runs).toBe(2);
});

test("only so many ended jobs are remembered", async () => {
  const { jobs } = jobsWith(20, 2);
  const runs: string[] = [];
  const work = ({ value }: Prepared<string>): Work => ({
    key: value,
    run: () => {
      runs.push(value);
      return Promise.resolve(ACK);
    },
  });
  for (const id of ["a", "b", "c", "a"]) await jobs.verdicts(deliveries(id), laneOf, work);
  expect(runs).toEqual(["a", "b", "c", "a"]);
});

test("when the term ends the handler rejects: nothing is settled", async () => {
  const { jobs, end } = jobsWith(60_000);
  const work = (): Work => ({ key: "a1", run: () => new Promise(() => undefined) });
  const verdicts = jobs.verdicts(deliveries("a1"), laneOf, work);
  end.abort(new Error("the lease is lost"));
  await expect(verdicts).rejects.toThrow("the lease is lost");
});

import { ACK, type Decision, type Delivery, type Prepared, type Verdict } from "@linkspan/fabric";
import pino from "pino";
import { expect, test } from "vitest";
import { Jobs, type Work } from "./long-work.ts";

function deliveries(...ids: readonly string[]): Prepared<string>[] {
  const route = { service: "echo", instance: "primary", action: "outbound_message", partition: 0 };
  return ids.map((id) => ({ value: id, delivery: { messageId: id, attempt: 1, route } as Delivery }));
}

function jobsWith(remembered?: number) {
  const end = new AbortController();
  const log = pino({ level: "silent" });
  const jobs = new Jobs({ signal: end.signal, log, ...(remembered !== undefined && { remembered }) });
  return { jobs, end };
}

/** Work that ends when the test tells it to; `started` counts its runs. */
function workOn(started: string[], endings: Map<string, PromiseWithResolvers<Decision>>) {
  return ({ value }: Prepared<string>): Work => ({
    key: value,
    run: () => {
      started.push(value);
      const ending = Promise.withResolvers<Decision>();
      endings.set(value, ending);
      return ending.promise;
    },
  });
}

const laneOf = ({ value }: Prepared<string>) => value[0] ?? "";

function laterOf(verdict: Verdict | undefined): Promise<Decision> {
  if (verdict?.do !== "later") throw new Error(`decided at once: ${verdict?.do}`);
  return verdict.decision;
}

test("a job is decided later, is not run twice, and is remembered", async () => {
  const { jobs } = jobsWith();
  const started: string[] = [];
  const endings = new Map<string, PromiseWithResolvers<Decision>>();
  const batch = deliveries("a1");
  const [first] = jobs.verdicts(batch, laneOf, workOn(started, endings));
  const [repeated] = jobs.verdicts(batch, laneOf, workOn(started, endings));
  endings.get("a1")?.resolve(ACK);
  expect(await Promise.all([laterOf(first), laterOf(repeated)])).toEqual([ACK, ACK]);
  expect(jobs.verdicts(batch, laneOf, workOn(started, endings))).toEqual([ACK]);
  expect(started).toEqual(["a1"]);
  expect(jobs.running).toBe(0);
});

test("within a lane the next starts only when the one before is settled; other lanes do not wait", async () => {
  const { jobs } = jobsWith();
  const started: string[] = [];
  const endings = new Map<string, PromiseWithResolvers<Decision>>();
  const work = (delivery: Prepared<string>) =>
    delivery.value.startsWith("b") ? ACK : workOn(started, endings)(delivery);
  const first = jobs.verdicts(deliveries("a1", "a2", "b1"), laneOf, work);
  expect(first).toMatchObject([{ do: "later" }, { do: "retry" }, { do: "ack" }]);
  expect(started).toEqual(["a1"]);
  endings.get("a1")?.resolve(ACK);
  await laterOf(first[0]);
  const second = jobs.verdicts(deliveries("a1", "a2"), laneOf, work);
  expect(second).toMatchObject([{ do: "ack" }, { do: "later" }]);
  expect(started).toEqual(["a1", "a2"]);
});

test("a job that is to be tried again runs again", async () => {
  const { jobs } = jobsWith();
  let runs = 0;
  const work = (): Work => ({
    key: "a1",
    run: () => Promise.resolve(++runs === 1 ? { do: "retry", afterMs: 5 } : ACK),
  });
  const once = async () => laterOf(jobs.verdicts(deliveries("a1"), laneOf, work)[0]);
  expect(await once()).toEqual({ do: "retry", afterMs: 5 });
  expect(await once()).toEqual(ACK);
});

test("a job that failed runs again after a while, one that ended does not", async () => {
  const { jobs } = jobsWith();
  let runs = 0;
  const work = (): Work => ({
    key: "a1",
    run: () => {
      runs += 1;
      return runs === 1 ? Promise.reject(new Error("the core is away")) : Promise.resolve(ACK);
    },
  });
  const verdicts = () => jobs.verdicts(deliveries("a1"), laneOf, work);
  expect(await laterOf(verdicts()[0])).toMatchObject({ do: "retry" });
  expect(await laterOf(verdicts()[0])).toEqual(ACK);
  expect(verdicts()).toEqual([ACK]);
  expect(runs).toBe(2);
});

test("a delivery that is repeated while its job fails does not forget the job's second run", async () => {
  const { jobs } = jobsWith();
  const started: string[] = [];
  const endings = new Map<string, PromiseWithResolvers<Decision>>();
  const verdicts = () => jobs.verdicts(deliveries("a1"), laneOf, workOn(started, endings));
  const [first] = verdicts();
  const [repeated] = verdicts();
  endings.get("a1")?.reject(new Error("the core is away"));
  await laterOf(first);
  verdicts();
  await laterOf(repeated);
  verdicts();
  expect(started).toEqual(["a1", "a1"]);
});

test("only so many ended jobs are remembered", async () => {
  const { jobs } = jobsWith(2);
  const runs: string[] = [];
  const work = ({ value }: Prepared<string>): Work => ({
    key: value,
    run: () => {
      runs.push(value);
      return Promise.resolve(ACK);
    },
  });
  for (const id of ["a", "b", "c", "a"]) {
    await laterOf(jobs.verdicts(deliveries(id), laneOf, work)[0]);
    await jobs.idle();
  }
  expect(runs).toEqual(["a", "b", "c", "a"]);
});

test("when the term ends nothing is settled, and nothing more is begun", async () => {
  const { jobs, end } = jobsWith();
  const reason = new Error("the lease is lost");
  const work = (): Work => ({
    key: "a1",
    run: () => new Promise((_, reject) => end.signal.addEventListener("abort", () => reject(reason))),
  });
  const [verdict] = jobs.verdicts(deliveries("a1"), laneOf, work);
  end.abort(reason);
  expect(await laterOf(verdict)).toMatchObject({ do: "retry" });
  expect(() => jobs.verdicts(deliveries("a1"), laneOf, work)).toThrow("the lease is lost");
});

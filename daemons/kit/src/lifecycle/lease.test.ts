import type { LeaseAnswer } from "@linkspan/fabric";
import { FabricError } from "@linkspan/envelopes";
import { aborted } from "@linkspan/time";
import pino from "pino";
import { expect, test, vi } from "vitest";
import { systemClock } from "../shared/clock.ts";
import { RefuseToRun, serveTerms } from "./lease.ts";

const options = { clock: systemClock, log: pino({ level: "silent" }) };
const held = (epoch: number, ttlMs: number): LeaseAnswer => ({ state: "held", epoch, ttlMs });
const taken: LeaseAnswer = { state: "taken", retryAfterMs: 1 };

test("works under the epoch it got, and again under the next when it is lost", async () => {
  const stop = new AbortController();
  const answers = [taken, held(1, 300), taken, taken, held(3, 300)];
  const epochs: number[] = [];
  await serveTerms(
    {
      ...options,
      beat: async () => answers.shift() ?? taken,
      work: async (tenure) => {
        epochs.push(tenure.epoch);
        if (tenure.epoch === 3) stop.abort();
        else await aborted(tenure.signal);
      },
    },
    stop.signal,
  );
  expect(epochs).toEqual([1, 3]);
});

test("a stop ends the waiting at once", async () => {
  const stop = new AbortController();
  const beat = vi.fn(async () => taken);
  const serving = serveTerms({ ...options, beat, work: async () => undefined }, stop.signal);
  await expect.poll(() => beat).toHaveBeenCalled();
  stop.abort();
  await serving;
});

test("a stop waits for the work, and the lease is kept until it has ended", async () => {
  const stop = new AbortController();
  const finish = Promise.withResolvers<void>();
  const begun = Promise.withResolvers<void>();
  let beats = 0;
  let ended = false;
  const serving = serveTerms(
    {
      ...options,
      beat: async () => {
        beats += 1;
        return held(1, 300);
      },
      work: async (_tenure, stopped) => {
        begun.resolve();
        await aborted(stopped);
        await finish.promise;
        ended = true;
      },
    },
    stop.signal,
  );
  await begun.promise;
  stop.abort();
  await vi.waitFor(() => expect(beats).toBeGreaterThan(3), { timeout: 3_000 });
  expect(ended).toBe(false);
  finish.resolve();
  await serving;
  expect(ended).toBe(true);
});

test("work that fails is begun again; refusing to run is final", async () => {
  let works = 0;
  const serving = serveTerms(
    {
      ...options,
      beat: async () => {
        if (works === 2) throw new RefuseToRun("request.invalid", "another partition count");
        return held(1, 6_000);
      },
      work: async () => {
        works += 1;
        throw new FabricError("bus.unavailable", "no queue could be declared");
      },
    },
    new AbortController().signal,
  );
  await expect(serving).rejects.toMatchObject({ code: "request.invalid" });
  expect(works).toBe(2);
});

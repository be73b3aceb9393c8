/** The values that are given to BullMQ: ids, options and checked payloads. */
import { FabricError } from "@linkspan/envelopes";
import type { JobsOptions } from "bullmq";
import type { Backoff, JobDefinition } from "./jobs.ts";

const KEPT = {
  removeOnComplete: true,
  removeOnFail: { age: 7 * 24 * 3_600, count: 1_000 },
  stackTraceLimit: 0,
} satisfies JobsOptions;

export function retryOptions(attempts: number, backoff: Backoff): JobsOptions {
  const { type, delayMs, jitter } = backoff;
  return {
    ...KEPT,
    attempts,
    backoff: { type, delay: delayMs, ...(jitter === undefined ? {} : { jitter }) },
  };
}

/** Job ids contain it, and they must not hold another colon. */
export function schedulerId(job: { readonly name: string }, key = "default"): string {
  return `${job.name}/${encodeURIComponent(key)}`;
}

/** @throws FabricError `internal` naming the members that do not fit, without their values */
export function checked<Payload>(job: JobDefinition<Payload>, payload: unknown): Payload {
  const result = job.schema.safeParse(payload);
  if (result.success) return result.data;
  const members = result.error.issues.map(({ path, code }) => `${path.join(".")}: ${code}`).join(", ");
  throw new FabricError("internal", `the payload of job ${job.name} does not fit its schema (${members})`);
}

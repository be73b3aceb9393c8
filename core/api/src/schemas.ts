/** Schemas of requests. Every value that reaches a table is free of NUL and limited in size. */
import { isConnector } from "@linkspan/envelopes";
import { z } from "zod";
import { ProblemSchema, PROBLEM_TYPE } from "./problem.ts";

/** Generated ids: UUIDs and digests. */
export const Id = z.string().regex(/^[A-Za-z0-9_-]{1,128}$/, "not an id");
/** `bigint` ids, written in decimal. */
export const Serial = z.string().regex(/^[1-9][0-9]{0,17}$/, "not a number");
/** Names that callers choose: no control characters. */
export const Name = z
  .string()
  .max(256)
  .regex(/^[^\u0000-\u001f\u007f]+$/u, "empty, or holds control characters");
/** `_` is reserved for the namespace itself. */
export const WORKSPACE = /^(?!_$)[A-Za-z0-9_-]{1,64}$/;
export const Workspace = z.string().regex(WORKSPACE, "not a workspace id");
export const Service = z.string().max(32).refine(isConnector, "not the name of a service");
export const Instance = z.string().regex(/^[a-z0-9][a-z0-9_-]{0,62}$/, "not an instance name");

export const limitOf = (standard: number, largest: number) =>
  z.coerce.number().int().min(1).max(largest).default(standard);

export const Time = z.iso.datetime({ offset: true });
/** The format of the store's times. */
export const Written = z.iso.datetime();
export const Open = z.record(z.string(), z.unknown());
export const Nothing = z.void().meta({ description: "no content" });

/** A list in an answer ends early, with the member that reaches this size. */
export const MAX_LIST_BYTES = 4 * 1_048_576;

/** The first members, up to this many bytes of JSON together; at least one. */
export function withinBytes<T>(members: readonly T[], maxBytes: number): T[] {
  let bytes = 0;
  return members.filter((member, at) => {
    const fits = at === 0 || bytes < maxBytes;
    if (fits) bytes += Buffer.byteLength(JSON.stringify(member));
    return fits;
  });
}

export const idParams = z.object({ id: Id });

/** Every route may answer with a problem; the route's own answers are added first. */
export function answers<T extends Record<number, unknown>>(own: T) {
  const problem = {
    description: "What went wrong",
    content: { [PROBLEM_TYPE]: { schema: ProblemSchema } },
  };
  return { ...own, "4xx": problem, "5xx": problem };
}

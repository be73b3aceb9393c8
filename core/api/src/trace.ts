/**
 * W3C trace context of the caller. It is checked and logged, so that logs of both sides can be matched, and
 * never continued: a caller does not choose our trace ids.
 */

/** @returns the caller's trace id; undefined when there is none or it is malformed */
export function foreignTrace(traceparent: string | string[] | undefined): string | undefined {
  if (typeof traceparent !== "string" || traceparent.length > 55) return undefined;
  const match = /^00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}$/.exec(traceparent);
  const [, trace, span] = match ?? [];
  if (trace === undefined || /^0+$/.test(trace) || /^0+$/.test(span ?? "")) return undefined;
  return trace;
}

/**
 * What a core knows, by the version that it tells in `hello`. A form of a request cannot be tried out: a core that does
 * not know it gives no answer, because it cannot read who asks.
 */

/** From 0.2 on: many questions in one `attempt`, and `delivery_statuses`. */
export function takesMany(version: string | undefined): boolean {
  const [, major = "0", minor = "0"] = /^(\d+)\.(\d+)\./.exec(version ?? "") ?? [];
  return Number(major) > 0 || Number(minor) >= 2;
}

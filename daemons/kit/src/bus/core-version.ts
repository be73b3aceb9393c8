/**
 * What a core supports, by the version in its answer to `hello`. A new form of a request cannot simply be tried: a core
 * that does not know the form cannot read the envelope and gives no answer.
 */

/** From 0.2 on: many questions in one `attempt`, and `delivery_statuses`. */
export function takesMany(version: string | undefined): boolean {
  return isFrom(2, version);
}

/** From 0.3 on: `signed_batches` among what a daemon knows. */
export function signsBatches(version: string | undefined): boolean {
  return isFrom(3, version);
}

function isFrom(least: number, version: string | undefined): boolean {
  const [, major = "0", minor = "0"] = /^(\d+)\.(\d+)\./.exec(version ?? "") ?? [];
  return Number(major) > 0 || Number(minor) >= least;
}

/**
 * Ids are base64url, so one in 64 begins with a dash and would be parsed as an option. This moves ids behind
 * `--`. The value of an option stays behind its option.
 */

/** A digest of 32 bytes: of a key, an intent or a message. No option has this form. */
const DASHED_ID = /^-[A-Za-z0-9_-]{42}$/;

export function operandsLast(argv: readonly string[]): string[] {
  const end = argv.indexOf("--");
  const options = end < 0 ? argv : argv.slice(0, end);
  const isId = (at: number): boolean => {
    const before = options[at - 1] ?? "";
    return DASHED_ID.test(options[at] ?? "") && !(before.startsWith("--") && !before.includes("="));
  };
  const ids = options.filter((_, at) => isId(at));
  if (ids.length === 0) return [...argv];
  return [...options.filter((_, at) => !isId(at)), "--", ...ids, ...(end < 0 ? [] : argv.slice(end + 1))];
}

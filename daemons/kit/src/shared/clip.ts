/** Longest sentence that is reported to the core, code units: a platform's own texts may be of any length. */
const LONGEST = 1_000;

/** The text, cut between characters when it is too long for a note or a log line; any other value as text. */
export function clip(text: unknown, longest = LONGEST): string {
  const whole = typeof text === "string" ? text : String(text);
  return whole.length <= longest ? whole : `${whole.slice(0, longest - 1).toWellFormed()}…`;
}

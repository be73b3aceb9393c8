/** The one spelling of an instant: `YYYY-MM-DDTHH:MM:SS.mmmZ`. Such texts sort as the instants do. */

const FORM = /^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z$/;

/** Shape of {@link isTimestamp} for JSON Schema, where the calendar cannot be expressed. */
export const TIMESTAMP_PATTERN = FORM.source;

const DAYS = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] as const;

/** @param date a valid date in the years 0 to 9999 */
export function timestamp(date: Date): string {
  return date.toISOString();
}

/** True for the one spelling of an instant that exists: no 30 February, no second 60. */
export function isTimestamp(text: string): boolean {
  if (!FORM.test(text)) return false;
  const month = two(text, 5);
  const day = two(text, 8);
  if (two(text, 11) > 23 || two(text, 14) > 59 || two(text, 17) > 59 || day === 0) return false;
  const days = DAYS[month - 1];
  if (days === undefined) return false;
  return day <= days || (month === 2 && day === 29 && isLeap(two(text, 0) * 100 + two(text, 2)));
}

function two(text: string, at: number): number {
  return (text.charCodeAt(at) - 48) * 10 + text.charCodeAt(at + 1) - 48;
}

function isLeap(year: number): boolean {
  return year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0);
}

const ISO =
  /^([0-9]{4}-[0-9]{2}-[0-9]{2})[T ]([0-9]{2}:[0-9]{2})(:[0-9]{2})?(?:\.([0-9]{1,9}))?(Z|[+-][0-9]{2}:[0-9]{2})?$/;

/**
 * Reads an ISO 8601 instant as other programs write it: with an offset, other precision, or no zone (UTC).
 *
 * @returns our one spelling, cut to milliseconds; undefined when it is no instant
 */
export function readInstant(text: string): string | undefined {
  const [, date, time, seconds = ":00", fraction = "", zone = "Z"] = ISO.exec(text) ?? [];
  if (date === undefined || time === undefined) return undefined;
  const local = `${date}T${time}${seconds}.${fraction.padEnd(3, "0").slice(0, 3)}Z`;
  if (!isTimestamp(local)) return undefined;
  const instant = Date.parse(zone === "Z" ? local : `${local.slice(0, -1)}${zone}`);
  const written = Number.isNaN(instant) ? "" : new Date(instant).toISOString();
  return isTimestamp(written) ? written : undefined;
}

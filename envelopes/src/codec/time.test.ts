import fc from "fast-check";
import { expect, test } from "vitest";
import { isTimestamp, readInstant, timestamp } from "./time.ts";

const dates = fc.date({
  min: new Date("0000-01-01T00:00:00.000Z"),
  max: new Date("9999-12-31T23:59:59.999Z"),
  noInvalidDate: true,
});

test("every date has one spelling, and it sorts as the date does", () => {
  fc.assert(
    fc.property(
      dates,
      (date) => isTimestamp(timestamp(date)) && Date.parse(timestamp(date)) === date.getTime(),
    ),
  );
  fc.assert(fc.property(dates, dates, (a, b) => timestamp(a) < timestamp(b) === a.getTime() < b.getTime()));
});

test.each(["2024-02-29T00:00:00.000Z", "2000-02-29T23:59:59.999Z", "9999-12-31T00:00:00.000Z"])(
  "%s exists",
  (text) => {
    expect(isTimestamp(text)).toBe(true);
  },
);

test.each([
  "2023-02-29T00:00:00.000Z",
  "1900-02-29T00:00:00.000Z",
  "2026-02-30T00:00:00.000Z",
  "2026-04-31T00:00:00.000Z",
  "2026-13-01T00:00:00.000Z",
  "2026-00-01T00:00:00.000Z",
  "2026-01-00T00:00:00.000Z",
  "2026-01-01T24:00:00.000Z",
  "2026-01-01T00:60:00.000Z",
  "2026-01-01T00:00:60.000Z",
  "2026-01-01T00:00:00Z",
  "2026-01-01T00:00:00.000+00:00",
  "2026-01-01 00:00:00.000Z",
  "2026-01-01T00:00:00.000Z\n",
  "+02026-01-01T00:00:00.000Z",
])("%s does not", (text) => {
  expect(isTimestamp(text)).toBe(false);
});

test.each([
  ["2026-11-20T11:34:58+00:00", "2026-11-20T11:34:58.000Z"],
  ["2026-11-20T11:34:58.123000+00:00", "2026-11-20T11:34:58.123Z"],
  ["2026-11-20T11:34:58.129999+02:00", "2026-11-20T09:34:58.129Z"],
  ["2026-11-20T11:34:58.5Z", "2026-11-20T11:34:58.500Z"],
  ["2026-11-20 11:34", "2026-11-20T11:34:00.000Z"],
  ["2026-02-30T00:00:00Z", undefined],
  ["0000-01-01T00:00:00+14:00", undefined],
  ["yesterday", undefined],
])("reads %s as %s", (text, instant) => {
  expect(readInstant(text)).toBe(instant);
});

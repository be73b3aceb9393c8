/** Every refusal of the reference lists has a meaning, and one that no list has is a refusal all the same. */
import { CODES } from "@linkspan/envelopes";
import { expect, test } from "vitest";
import { parseLine } from "./client.ts";
import type { Line } from "./inbound.ts";
import { isKnownNumeric, numericOf } from "./numerics.ts";
import { joinRefusalOf, refusalOf } from "./refusals.ts";

/** Errors of modern.ircdocs.horse, defs.ircdocs.horse and the headers of InspIRCd, UnrealIRCd, Solanum and ngIRCd. */
const LISTED = (
  "263 400 401 402 403 404 405 406 407 408 409 410 411 412 413 414 415 416 417 419 420 421 422 423 424 425 429 430 431 " +
  "432 433 434 435 436 437 438 439 440 441 442 443 444 445 446 447 448 449 451 452 453 455 456 457 458 459 460 461 " +
  "462 463 464 465 466 467 468 469 470 471 472 473 474 475 476 477 478 479 480 481 482 483 484 485 486 487 488 489 " +
  "490 491 492 493 494 495 496 497 498 499 500 501 502 503 504 511 512 513 514 515 516 517 518 519 520 521 522 523 " +
  "524 525 531 562 691 696 697 698 707 712 713 714 715 716 723 734 742 743 744 902 904 905 906 908 926 936 937 938 " +
  "939 942 952 972 974"
).split(" ");

const isRoom = (name: string): boolean => name.toLowerCase() === "#room";

function line(raw: string): Line {
  const parsed = parseLine(raw);
  if (parsed === undefined) throw new Error(`not a line: ${raw}`);
  return parsed;
}

test.each(LISTED)("%s has a code, a sentence and a scope", (numeric) => {
  expect(isKnownNumeric(numeric)).toBe(true);
  const known = numericOf(numeric);
  expect(Object.keys(CODES)).toContain(known?.code);
  expect(known?.sentence).toMatch(/^[a-z].{8,}[^.]$/i);
  expect(known?.answers.length).toBeGreaterThan(0);
});

test("what is no error refuses nothing", () => {
  for (const numeric of ["001", "301", "332", "366", "597", "598", "599", "717", "900", "903"]) {
    expect(numericOf(numeric)).toBeUndefined();
    expect(refusalOf(line(`:s ${numeric} alice #room :words`), isRoom, true)).toBeUndefined();
  }
});

test.each([
  [":s 404 alice #room :Cannot send to channel", "platform.forbidden", "message"],
  [":s 707 alice #room :Targets changing too fast, message dropped", "platform.rate_limited", "identity"],
  [":s 439 alice #room :Target change too fast", "platform.rate_limited", "identity"],
  [":s 437 alice #room :Nick/channel is temporarily unavailable", "platform.rate_limited", "channel"],
  [":s 531 alice #room :You are not permitted to send to them", "platform.forbidden", "message"],
  [":s 492 alice :You cannot send CTCPs to this channel", "platform.unsupported", "message"],
  [":s 493 alice :You share no channel with them", "platform.forbidden", "message"],
  [":s 486 alice #room :You must log in to message this user", "platform.forbidden", "message"],
  [":s 440 alice #room :Services are currently down", "platform.unavailable", "message"],
  [":s 936 alice #room bad :Your message contained a censored word", "platform.forbidden", "message"],
  [":s 972 alice PRIVMSG :Not now", "platform.forbidden", "message"],
  [":s 400 alice PRIVMSG :Something failed", "platform.unavailable", "message"],
  [":s 461 alice PRIVMSG :Not enough parameters", "platform.forbidden", "message"],
  // No list has these.
  [":s 419 alice #room :cut", "platform.too_long", "message"],
  [":s 526 alice #room :Unheard of", "platform.forbidden", "message"],
  [":s 576 alice :Unheard of and nameless", "platform.forbidden", "message"],
  ["FAIL PRIVMSG MULTILINE_MAX_BYTES 4096 :Too long", "platform.too_long", "message"],
  ["FAIL TAGMSG NOT_ALLOWED #room :No", "platform.forbidden", "message"],
])("a text is refused by %s with %s, for the %s", (raw, code, scope) => {
  expect(refusalOf(line(raw), isRoom)).toMatchObject({ code, scope });
});

test.each([
  ":s 433 alice #room :Nickname is already in use",
  ":s 443 alice bob #room :is already on channel",
  ":s 471 alice #room :Cannot join channel (+l)",
  ":s 447 alice :You may not change your nickname",
  ":s 734 alice 100 #room :Monitor list is full",
  ":s 461 alice MONITOR :Not enough parameters",
  ":s 972 alice KICK :Not now",
  ":s 576 alice #other :Unheard of, and of another",
  ":s 904 alice :SASL authentication failed",
  "FAIL JOIN CHANNEL_IS_FULL #room :No",
  "NOTE PRIVMSG SLOW #room :Just so",
])("%s says nothing against a text", (raw) => {
  expect(refusalOf(line(raw), isRoom)).toBeUndefined();
});

test("whatever error carries a text's own label refuses it", () => {
  for (const numeric of [...LISTED, "526", "576"]) {
    expect(refusalOf(line(`:s ${numeric} alice nothing known :words`), isRoom, true)?.message).toContain(
      numeric,
    );
  }
});

test.each([
  ["479 alice #room :Illegal channel name", "platform.forbidden", "channel", "does not take its name"],
  ["443 alice alice #room :is already on channel", "platform.forbidden", "channel", "there already"],
  ["437 alice #room :unavailable", "platform.rate_limited", "channel", "not available"],
  ["485 alice #room :Cannot join channel (spam)", "platform.forbidden", "channel", "forbids"],
  ["495 alice #room :You cannot rejoin yet", "platform.rate_limited", "channel", "too soon"],
  ["500 alice #room :Too many join requests", "platform.rate_limited", "identity", "too many"],
  ["926 alice #room :Channel is forbidden", "platform.forbidden", "channel", "forbids"],
  ["448 alice #room :Channel is forbidden", "platform.forbidden", "channel", "forbids"],
  ["520 alice #room :Cannot join channel (+O)", "platform.forbidden", "channel", "operators"],
  ["489 alice #room :Cannot join channel (+z)", "platform.forbidden", "channel", "TLS"],
  ["477 alice #room :Cannot join channel (+r)", "platform.forbidden", "channel", "registered"],
  ["461 alice JOIN :Not enough parameters", "platform.forbidden", "channel", "parameter"],
  ["421 alice JOIN :Unknown command", "platform.unsupported", "channel", "command"],
  ["577 alice #room :Unheard of", "platform.forbidden", "channel", "577 Unheard of"],
])("a JOIN is refused by %s with %s, for the %s, in words", (raw, code, scope, words) => {
  const refusal = joinRefusalOf(line(`:s ${raw}`), isRoom);
  expect(refusal?.error).toMatchObject({ code, scope });
  expect(refusal?.error.message).toContain("cannot be joined");
  expect(refusal?.error.message).toContain(words);
});

test.each([
  ":s 404 alice #room :Cannot send to channel",
  ":s 442 alice #room :You're not on that channel",
  ":s 479 alice #other :Illegal channel name",
  ":s 461 alice PRIVMSG :Not enough parameters",
  ":s 433 alice #room :Nickname is already in use",
  ":s 331 alice #room :No topic is set",
])("%s says nothing against a JOIN", (raw) => {
  expect(joinRefusalOf(line(raw), isRoom)).toBeUndefined();
});

test("a standard reply refuses a JOIN, too", () => {
  const refused = joinRefusalOf(line("FAIL JOIN RATE_LIMITED #room :Slow down"), isRoom);
  expect(refused).toMatchObject({ channel: "#room", error: { code: "platform.rate_limited" } });
});

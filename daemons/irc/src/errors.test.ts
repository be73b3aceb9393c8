import { expect, test } from "vitest";
import { parseLine } from "./client.ts";
import { endingOf, registrationRefusalOf, socketEnding } from "./errors.ts";
import type { Line } from "./inbound.ts";
import { joinRefusalOf, refusalOf } from "./refusals.ts";

function line(raw: string): Line {
  const parsed = parseLine(raw);
  if (parsed === undefined) throw new Error(`not a line: ${raw}`);
  return parsed;
}

const isRoom = (name: string): boolean => name.toLowerCase() === "#room";

test.each([
  [":s 404 alice #Room :Cannot send to channel (+m)", "platform.forbidden"],
  [":s 403 alice #room :No such channel", "platform.not_found"],
  [":s 401 alice #room :No such nick/channel", "platform.not_found"],
  [":s 412 alice :No text to send", "platform.unsupported"],
  [":s 417 alice :Input line was too long", "platform.too_long"],
  [":s 421 alice PRIVMSG :Unknown command", "platform.unsupported"],
  [":s 439 alice #room :Target change too fast. Please wait 17 seconds.", "platform.rate_limited"],
  [":s 716 alice #room :is in +g mode", "platform.forbidden"],
  ["FAIL PRIVMSG RATE_LIMITED #room :Slow down", "platform.rate_limited"],
  ["FAIL PRIVMSG MESSAGE_TOO_LONG #room :Too long", "platform.too_long"],
  ["FAIL * ACCOUNT_REQUIRED :Log in", "platform.forbidden"],
])("%s refuses a text with %s", (raw, code) => {
  expect(refusalOf(line(raw), isRoom)?.code).toBe(code);
});

test.each([
  ":s 404 alice #other :Cannot send to channel",
  ":s 301 alice #room :Gone away",
  ":s 433 alice #room :Nickname is already in use",
  ":s 421 alice WHATEVER :Unknown command",
  ":s 366 alice #room :End of /NAMES list.",
  "FAIL CHATHISTORY INVALID_TARGET #room :No",
  "WARN PRIVMSG ODD #room :Odd",
])("%s says nothing against a text", (raw) => {
  expect(refusalOf(line(raw), isRoom)).toBeUndefined();
});

test("how long to wait is taken from the server's words where they say it", () => {
  const refused = refusalOf(line(":s 439 alice #room :Please wait 17 seconds."), isRoom);
  expect(refused?.retryAfterMs).toBe(17_000);
});

test.each([
  ["474", "platform.forbidden", "banned"],
  ["475", "platform.forbidden", "key"],
  ["471", "platform.forbidden", "full"],
  ["403", "platform.not_found", "no such channel"],
  ["437", "platform.rate_limited", "not available"],
])("%s refuses a join with %s and a sentence", (numeric, code, words) => {
  const refusal = joinRefusalOf(line(`:s ${numeric} alice #room :Cannot join`));
  expect(refusal).toMatchObject({ channel: "#room", error: { code } });
  expect(refusal?.error.message).toContain(words);
});

test.each([
  ["Closing Link: alice[1.2.3.4] (K-Lined)", "logged_out", "late"],
  ["Closing link: (alice@1.2.3.4) [G-lined: spam]", "logged_out", "late"],
  ["Closing Link: 1.2.3.4 (Z-lined: flooding the network)", "logged_out", "late"],
  ['Access denied: "no robots" (K-Line)', "logged_out", "late"],
  ["Closing Link: alice (User is banned (bots))", "logged_out", "late"],
  ["Closing Link: alice[1.2.3.4] (Excess Flood)", "transient_disconnect", "soon"],
  ["Closing link: (e@1.2.3.4) [RecvQ exceeded]", "transient_disconnect", "soon"],
  ["Connection refused, too many connections from your IP address", "transient_disconnect", "late"],
  ["Closing link: (1@1.2.3.4) [No more connections allowed from your host]", "transient_disconnect", "late"],
  ["Closing Link: [1.2.3.4] (Throttled: Reconnecting too fast)", "transient_disconnect", "late"],
  ["Closing Link: alice[1.2.3.4] (Ping timeout: 240 seconds)", "transient_disconnect", "soon"],
  ["Closing Link: alice (Killed (oper (go away)))", "transient_disconnect", "soon"],
  ["Bad Password", "bad_credentials", "never"],
  ["", "transient_disconnect", "soon"],
])("ERROR %j means %s, and to try again %s", (text, state, retry) => {
  const ending = endingOf(text);
  expect(ending).toMatchObject({ state, retry });
  expect(ending.message).toMatch(/^[A-Z].*[.]$/);
  expect(ending.message).not.toContain("1.2.3.4");
});

test("only a flood slows us down for good", () => {
  expect(endingOf("Closing Link: a (Excess Flood)").flooded).toBe(true);
  expect(endingOf("Closing Link: a (K-Lined: Excess Flood)").flooded).toBeUndefined();
});

test("465 decides what it is, the ERROR behind it tells why", () => {
  const refused = registrationRefusalOf(line(":s 465 alice :You're banned!"));
  expect(refused?.state).toBe("logged_out");
  expect(endingOf("Closing link: (a@h) [K-lined: no robots]", refused).message).toContain(
    "K-lined: no robots",
  );
  const password = registrationRefusalOf(line(":s 464 alice :Password incorrect"));
  expect(endingOf("Closing Link: a (Bad Password)", password)).toMatchObject({ state: "bad_credentials" });
});

test("a server's words are bounded and hold no controls", () => {
  const { message } = endingOf(`Closing Link: a (\x02Ev\x03il\x1b[31m ${"x".repeat(5_000)})`);
  expect(message.length).toBeLessThan(400);
  expect(message).not.toMatch(/[\0-\x1F\x7F]/);
});

test.each([
  ["ECONNREFUSED", "transient_disconnect", "soon"],
  ["ENOTFOUND", "transient_disconnect", "soon"],
  ["SOMETHING_NEW", "transient_disconnect", "soon"],
  ["DEPTH_ZERO_SELF_SIGNED_CERT", "unknown_error", "late"],
  ["ERR_TLS_CERT_ALTNAME_INVALID", "unknown_error", "late"],
  ["ERR_TLS_PINNED", "unknown_error", "late"],
  ["REFUSED_ADDRESS", "unknown_error", "never"],
])("a socket's %s means %s", (code, state, retry) => {
  expect(socketEnding(Object.assign(new Error("x"), { code }), "irc.test.invalid")).toMatchObject({
    state,
    retry,
  });
});

import { isFabricError } from "@linkspan/envelopes";
import { expect, test } from "vitest";
import { parseSettings } from "./config.ts";

test("a known network and a nickname are enough", () => {
  expect(parseSettings({ network: "libera", nick: "alice" })).toMatchObject({
    host: "irc.libera.chat",
    port: 6697,
    tls: true,
    channels: [],
    membership: "all",
  });
});

test("any other network needs its host, and has the port of its kind", () => {
  expect(() => parseSettings({ network: "mine", nick: "alice" })).toThrow(
    /host: mine is not a known network/,
  );
  expect(parseSettings({ network: "mine", host: "irc.test.invalid", tls: false, nick: "alice" }).port).toBe(
    6667,
  );
});

test("Msgr's way of saying it is understood", () => {
  const settings = parseSettings({
    user_id: 7,
    network: "libera",
    nickname: "alice",
    auth: { method: "sasl" },
  });
  expect(settings.nick).toBe("alice");
});

test.each([
  ["nick", "a b"],
  ["nick", "a\r\nQUIT"],
  ["nick", "#alice"],
  ["nick", "1alice"],
  ["nick", ""],
  ["nick", "x".repeat(31)],
  ["username", "a@b"],
  ["realname", "a\nb"],
  ["host", "a b"],
  ["host", "evil\r\n"],
  ["network", "Libera"],
  ["network", "a/b"],
  ["channels", ["#a,#b"]],
  ["channels", ["#a\r\nQUIT"]],
  ["channels", ["a"]],
  ["channels", [`#${"🌉".repeat(60)}`]],
  ["sasl", { mechanism: "PLAIN", account: "a b" }],
  ["nickserv", { service: "Nick Serv" }],
  ["nickserv", { recover: "QUIT" }],
  ["port", 70_000],
  ["pace", { perSecond: 0, burst: 2 }],
  ["pace", { perSecond: 1e-300, burst: 2 }],
  ["encoding", "klingon"],
  ["encoding", "utf-16le"],
  ["followForwards", "perhaps"],
  ["tls", { ca: "-----BEGIN CERTIFICATE-----\nnonsense" }],
  ["tls", { serverName: "a\r\nb" }],
  ["withoutCaps", Array.from({ length: 200 }, (_, index) => `cap${index}`)],
  ["password", "secret"],
  ["tls", { verify: false }],
])("%s %j is refused by its name, and its value is not repeated", (name, value) => {
  try {
    parseSettings({ network: "libera", nick: "alice", [name]: value });
  } catch (error) {
    expect(isFabricError(error) && error.code).toBe("request.invalid");
    const { message } = error as Error;
    expect(message).toContain(name === "password" ? "password" : name);
    if (typeof value === "string" && value.length > 2) expect(message).not.toContain(value);
    return;
  }
  expect.unreachable("it was taken");
});

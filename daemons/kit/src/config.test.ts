import { expect, test } from "vitest";
import { parseConfig } from "./config.ts";

const BUS = { LINKSPAN_DAEMON_BUS_URL: "amqp://localhost" };

test("reads what is given, fills in the rest, and leaves other programs' variables alone", () => {
  const config = parseConfig({ ...BUS, LINKSPAN_DAEMON_INSTANCE: "eu-1", LINKSPAN_PORT: "1", PATH: "/bin" });
  expect(config).toEqual({
    busUrl: "amqp://localhost",
    instance: "eu-1",
    keyFile: "./daemon-keys.json",
    logLevel: "info",
  });
});

test("tells every fault in one message, by the variable's name and without its value", () => {
  const env = { LINKSPAN_DAEMON_INSTANCE: "Secret Name", LINKSPAN_DAEMON_COLOUR: "blue" };
  expect(() => parseConfig(env)).toThrow(
    /INSTANCE[^]*BUS_URL[^]*LINKSPAN_DAEMON_COLOUR: there is no such setting/,
  );
  expect(() => parseConfig(env)).not.toThrow(/Secret Name/);
});

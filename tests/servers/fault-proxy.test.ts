import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type FaultProxy, startFaultProxy } from "./fault-proxy.ts";
import { until } from "./until.ts";

const echo = createServer({ allowHalfOpen: true }, (socket) => {
  socket.on("error", () => socket.destroy());
  socket.pipe(socket);
});
let proxy: FaultProxy;

beforeEach(async () => {
  await once(echo.listen(0, "127.0.0.1"), "listening");
  proxy = await startFaultProxy({ port: (echo.address() as AddressInfo).port });
});

afterEach(async () => {
  await proxy[Symbol.asyncDispose]();
  await new Promise((resolve) => echo.close(resolve));
});

function open(): { socket: Socket; received: () => string; ended: () => boolean } {
  const socket = connect({ host: proxy.host, port: proxy.port });
  let text = "";
  let closed = false;
  socket.on("data", (bytes) => {
    text += bytes.toString();
  });
  socket.on("error", () => undefined); // `close` follows
  socket.on("close", () => {
    closed = true;
  });
  return { socket, received: () => text, ended: () => closed };
}

test("passes bytes, in order, and a half-close", async () => {
  const { socket, received, ended } = open();
  const text = "0123456789".repeat(100_000);
  socket.end(text);
  await until(ended, { what: "the echo to end" });
  expect(received()).toBe(text);
  await until(() => proxy.connections === 0, { what: "the proxy to forget the connection" });
});

test("cut resets what is open and accepts what is new", async () => {
  const first = open();
  first.socket.write("x");
  await until(() => first.received() === "x", { what: "the first echo" });
  proxy.cut();
  await until(first.ended, { what: "the reset" });
  const second = open();
  second.socket.write("y");
  await until(() => second.received() === "y", { what: "an echo on a new connection" });
});

test("refuse resets new connections until pass", async () => {
  proxy.refuse();
  const refused = open();
  await until(refused.ended, { what: "the refusal" });
  proxy.pass();
  const accepted = open();
  accepted.socket.write("y");
  await until(() => accepted.received() === "y", { what: "an echo after pass" });
});

test("stall holds one direction and pass releases it, in order", async () => {
  const { socket, received } = open();
  proxy.stall("down");
  socket.write("held");
  const other = open();
  proxy.stall("up");
  other.socket.write("also");
  expect(received()).toBe("");
  proxy.pass();
  socket.write(" back");
  await until(() => received() === "held back" && other.received() === "also", { what: "both echoes" });
});

test("delay is late and in order", async () => {
  proxy.delay(20);
  const { socket, received } = open();
  const started = performance.now();
  for (const letter of "abcdef") socket.write(letter);
  await until(() => received() === "abcdef", { what: "the late echo" });
  expect(performance.now() - started).toBeGreaterThanOrEqual(35);
});

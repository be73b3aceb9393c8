import { createServer, type AddressInfo, type Server, type Socket } from "node:net";
import { afterEach, beforeEach, expect, test } from "vitest";
import { LineSocket } from "./line-socket.ts";

let server: Server;
let accepted: Promise<Socket>;

beforeEach(async () => {
  server = createServer();
  accepted = new Promise((resolve) =>
    server.once("connection", (socket) => resolve(socket.on("error", () => undefined))),
  );
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
});

afterEach(async () => {
  (await accepted).destroy();
  await new Promise((resolve) => server.close(resolve));
});

interface Opened {
  readonly socket: LineSocket;
  readonly lines: string[];
  readonly peer: Socket;
  /** Resolves when the condition over `lines` holds. */
  readonly when: (holds: () => boolean) => Promise<void>;
  readonly closed: Promise<Error | false>;
}

async function open(onLine: (line: string, socket: LineSocket) => void = () => undefined): Promise<Opened> {
  const lines: string[] = [];
  const waiting = new Set<() => void>();
  const socket: LineSocket = new LineSocket(
    {
      host: "127.0.0.1",
      port: (server.address() as AddressInfo).port,
      privateHosts: true,
      tls: undefined,
      connectTimeoutMs: 5_000,
    },
    (line) => {
      lines.push(line);
      for (const look of waiting) look();
      onLine(line, socket);
    },
  );
  const closed = new Promise<Error | false>((resolve) => socket.once("close", resolve));
  const opened = new Promise((resolve) => socket.once("open", resolve));
  socket.connect();
  await opened;
  const when = (holds: () => boolean) =>
    new Promise<void>((resolve) => {
      const look = () => {
        if (holds()) resolve();
      };
      waiting.add(look);
      look();
    });
  return { socket, lines, peer: await accepted, when, closed };
}

test("lines come whole, however they are cut on the way, and in either encoding", async () => {
  const { lines, peer, when } = await open();
  for (const byte of Buffer.from("grüße\r\n\r\nbare\nnul\0l and \rcr\r\n")) peer.write(Buffer.of(byte));
  peer.write(Buffer.from("gr\xfc\xdfe\r\n", "latin1"));
  await when(() => lines.length === 4);
  expect(lines).toEqual(["grüße", "bare", "null and cr", "grüße"]);
});

test("reading stops between two lines of one packet, and goes on with the next", async () => {
  const { socket, lines, peer, when } = await open((line, own) => {
    if (line === "two") own.pause();
  });
  peer.write("one\r\ntwo\r\nthree\r\nfour\r\n");
  await when(() => lines.includes("two"));
  expect(lines).toEqual(["one", "two"]);
  socket.resume();
  expect(lines).toEqual(["one", "two", "three", "four"]);
});

test.each(["a\r\nQUIT", "a\nQUIT", "a\rQUIT", "a\0b"])(
  "a line that is two is not written and fails its connection, without an exception in the caller: %j",
  async (line) => {
    const { socket, peer, closed } = await open();
    const heard: Buffer[] = [];
    peer.on("data", (chunk) => heard.push(chunk));
    const done = new Promise((resolve) => peer.once("close", resolve));
    expect(() => socket.writeLine(line)).not.toThrow();
    await expect(closed).resolves.toMatchObject({ code: "EUNWRITABLE" });
    socket.writeLine("too late");
    await done;
    expect(Buffer.concat(heard).toString()).toBe("");
  },
);

test("an exception in what the socket calls ends its connection, not the process", async () => {
  for (const event of ["open", "line"] as const) {
    const socket = new LineSocket(
      {
        host: "127.0.0.1",
        port: (server.address() as AddressInfo).port,
        privateHosts: true,
        tls: undefined,
        connectTimeoutMs: 5_000,
      },
      () => {
        throw new TypeError("in line");
      },
    );
    const closed = new Promise((resolve) => socket.once("close", resolve));
    const peer = new Promise<Socket>((resolve) => server.once("connection", resolve));
    if (event === "open") {
      socket.on("open", () => {
        throw new TypeError("in open");
      });
    }
    socket.connect();
    (await peer).on("error", () => undefined).write("hello\r\n");
    await expect(closed).resolves.toMatchObject({ message: `in ${event}` });
  }
});

test("a certificate that TLS does not take ends its connection", async () => {
  const socket = new LineSocket(
    {
      host: "127.0.0.1",
      port: (server.address() as AddressInfo).port,
      privateHosts: true,
      tls: { certificate: "nonsense", key: "nonsense" },
      connectTimeoutMs: 5_000,
    },
    () => undefined,
  );
  const closed = new Promise((resolve) => socket.once("close", resolve));
  expect(() => socket.connect()).not.toThrow();
  await expect(closed).resolves.toBeInstanceOf(Error);
  await open();
});

test("a line without end ends the connection instead of filling the memory", async () => {
  const { peer, closed } = await open();
  peer.write("x".repeat(100_000));
  await expect(closed).resolves.toMatchObject({ code: "EPROTO" });
});

test("a reader that throws ends its connection, not the process", async () => {
  const { peer, closed } = await open(() => {
    throw new TypeError("cannot read this");
  });
  peer.write("something\r\n");
  await expect(closed).resolves.toMatchObject({ message: "cannot read this" });
});

test("the last lines are read even if reading was stopped when the connection ended", async () => {
  const { socket, lines, peer, closed, when } = await open((line, own) => {
    if (line === "one") own.pause();
  });
  peer.write("one\r\ntwo\r\n");
  await when(() => lines.length === 1);
  socket.fail(new Error("gone"));
  await closed;
  expect(lines).toEqual(["one", "two"]);
});

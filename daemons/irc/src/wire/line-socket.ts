/**
 * Lines over TCP or TLS: the transport under irc-framework, which brings its own too, but one that cannot be
 * stopped from reading and drops what it cannot write.
 *
 * Reading stops between two lines, not between two packets. A line goes out whole or not at all, and none that
 * holds a line end, whoever wrote it.
 */
import { EventEmitter } from "node:events";
import { connect, isIP, type Socket } from "node:net";
import { connect as connectTls, type TLSSocket } from "node:tls";
import { publicOnly, requirePublicPeer } from "@linkspan/daemon-kit";
import { lineDecoder } from "./decoding.ts";

export interface Endpoint {
  readonly host: string;
  readonly port: number;
  /** Loopback and private addresses are connected to as well. */
  readonly privateHosts: boolean;
  readonly tls:
    | {
        /** PEM; what is trusted instead of the system's authorities. */
        readonly ca?: string | undefined;
        /** SHA-256 of the one certificate that is trusted, hexadecimal; authorities do not count then. */
        readonly fingerprint?: string | undefined;
        readonly serverName?: string | undefined;
        /** PEM; the client's own, for SASL EXTERNAL. */
        readonly certificate?: string | undefined;
        readonly key?: string | undefined;
      }
    | undefined;
  readonly connectTimeoutMs: number;
  /** Of lines that are not UTF-8; Windows-1252 if absent. */
  readonly encoding?: string | undefined;
}

const MAX_LINE_BYTES = 65_536;
const NEWLINE = 0x0a;
const FORBIDDEN = /[\r\n\0]/;

/** Emits `open`, `line` and, once, `close` with an error or false, as irc-framework expects of a transport. */
export class LineSocket extends EventEmitter {
  readonly #endpoint: Endpoint;
  readonly #onLine: (line: string) => void;
  #socket: Socket | undefined;
  #rest: Buffer = Buffer.alloc(0);
  #paused = false;
  #error: Error | undefined;
  #closed = false;
  #decode: (bytes: Buffer) => string;

  /** @param onLine gets each line without its end, in order, never while reading is paused */
  constructor(endpoint: Endpoint, onLine: (line: string) => void) {
    super();
    this.#endpoint = endpoint;
    this.#onLine = onLine;
    this.#decode = lineDecoder(endpoint.encoding);
  }

  /** The server promises UTF-8 and nothing else (`UTF8ONLY`). */
  onlyUtf8(): void {
    this.#decode = lineDecoder("utf-8");
  }

  connect(): void {
    const { host, port, tls, privateHosts, connectTimeoutMs } = this.#endpoint;
    let socket: Socket;
    try {
      const to = { port, ...(privateHosts ? { host } : publicOnly(host)) };
      socket = tls === undefined ? connect(to) : connectTls({ ...to, ...tlsOptions(tls, host) });
    } catch (error) {
      // An address that is refused, or a certificate or authority that OpenSSL does not take.
      this.#error = asError(error);
      queueMicrotask(() => this.#close());
      return;
    }
    this.#socket = socket;
    const deadline = setTimeout(() => this.fail(timedOut()), connectTimeoutMs);
    socket.setNoDelay(true);
    socket.setKeepAlive(true, 60_000);
    if (!privateHosts) socket.once("connect", () => this.#requirePublic(socket));
    socket.once(tls === undefined ? "connect" : "secureConnect", () => {
      if (socket.destroyed) return;
      clearTimeout(deadline);
      this.#safely(() => {
        if (tls?.fingerprint === undefined || isPinned(socket as TLSSocket, tls.fingerprint))
          this.#open(socket);
        else this.fail(unpinned());
      });
    });
    socket.on("data", (chunk: Buffer) => this.#read(chunk));
    socket.on("error", (error: Error) => {
      this.#error ??= error;
    });
    socket.once("close", () => {
      clearTimeout(deadline);
      this.#close();
    });
  }

  /** Bytes that have not left this process. */
  get pendingBytes(): number {
    return this.#socket?.writableLength ?? 0;
  }

  get paused(): boolean {
    return this.#paused;
  }

  /** Resolves when everything written has left this process, or the socket is closed. */
  async flushed(): Promise<void> {
    const socket = this.#socket;
    if (socket === undefined || socket.writableLength === 0 || !socket.writable) return;
    await new Promise<void>((resolve) => socket.write("", () => resolve()));
  }

  /**
   * Never throws: it is called by timers and by the socket itself. A line that holds a line end or NUL would be
   * two; it is not written, and the connection fails with `EUNWRITABLE`.
   */
  writeLine(line: string, written?: () => void): void {
    if (FORBIDDEN.test(line)) {
      this.fail(unwritable());
      return;
    }
    if (this.#socket === undefined || !this.#socket.writable) {
      if (written !== undefined) queueMicrotask(written);
      return;
    }
    this.#socket.write(`${line}\r\n`, () => written?.());
  }

  pause(): void {
    this.#paused = true;
    this.#socket?.pause();
  }

  resume(): void {
    this.#paused = false;
    this.#drain();
    if (!this.#paused) this.#socket?.resume();
  }

  /** Part of irc-framework's transport: ends politely, or at once. */
  close(atOnce = false): void {
    if (atOnce || this.#socket?.connecting === true) this.#socket?.destroy();
    else this.#socket?.end();
  }

  fail(error: Error): void {
    this.#error ??= error;
    this.#socket?.destroy();
  }

  /** Part of irc-framework's transport. */
  disposeSocket(): void {
    this.#socket?.destroy();
  }

  /** Part of irc-framework's transport; there is only one encoding. */
  setEncoding(encoding: string): boolean {
    return encoding === "utf8";
  }

  /**
   * The greeting goes out in one piece: a server that has already refused us resets the connection at the first
   * write, and only a second write would then fail before its reason has been read.
   */
  #open(socket: Socket): void {
    socket.cork();
    try {
      this.emit("open");
    } finally {
      socket.uncork();
    }
  }

  /** A callback of the socket must not throw, as that would end the process. A fault ends this connection. */
  #safely(work: () => void): void {
    try {
      work();
    } catch (error) {
      this.fail(asError(error));
    }
  }

  #requirePublic(socket: Socket): void {
    this.#safely(() => requirePublicPeer(socket));
  }

  #read(chunk: Buffer): void {
    this.#rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    this.#drain();
    if (this.#rest.length > MAX_LINE_BYTES && !this.#paused) this.fail(endless());
  }

  #drain(): void {
    while (!this.#paused && !this.#closed) {
      const end = this.#rest.indexOf(NEWLINE);
      if (end < 0) break;
      const line = this.#decode(this.#rest.subarray(0, end));
      this.#rest = this.#rest.subarray(end + 1);
      if (line !== "") this.#safely(() => this.#onLine(line));
    }
  }

  #close(): void {
    if (this.#closed) return;
    this.#paused = false;
    this.#drain();
    this.#closed = true;
    this.emit("close", this.#error ?? false);
  }
}

function tlsOptions(tls: NonNullable<Endpoint["tls"]>, host: string) {
  const { ca, certificate, key, fingerprint, serverName } = tls;
  const name = serverName ?? host;
  return {
    minVersion: "TLSv1.2" as const,
    // The fingerprint is checked when the handshake is done, before anything is sent.
    rejectUnauthorized: fingerprint === undefined,
    ...(isIP(name) === 0 && { servername: name }),
    ...(ca !== undefined && { ca }),
    ...(certificate !== undefined && key !== undefined && { cert: certificate, key }),
  };
}

function isPinned(socket: TLSSocket, fingerprint: string): boolean {
  const wanted = fingerprint.replaceAll(":", "").toLowerCase();
  const { fingerprint256 } = socket.getPeerCertificate();
  return fingerprint256?.replaceAll(":", "").toLowerCase() === wanted;
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}

function timedOut(): Error {
  return Object.assign(new Error("it does not answer"), { code: "ETIMEDOUT" });
}

function unpinned(): Error {
  return Object.assign(new Error("it is another certificate"), { code: "ERR_TLS_PINNED" });
}

function unwritable(): Error {
  return Object.assign(new Error("a line holds a line end or NUL"), { code: "EUNWRITABLE" });
}

function endless(): Error {
  return Object.assign(new Error("a line without end"), { code: "EPROTO" });
}

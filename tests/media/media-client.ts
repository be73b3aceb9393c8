/** A client of media over real sockets: bodies go out and come in as streams. */
import { createHash } from "node:crypto";
import { request, type IncomingMessage } from "node:http";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";

export interface MediaView {
  readonly url: string;
  readonly sha256: string;
  readonly bytes: number;
  readonly mime: string;
  readonly name: string;
}

export interface Answered<T = Record<string, unknown>> {
  readonly status: number;
  readonly headers: IncomingMessage["headers"];
  readonly body: T;
}

export class MediaClient {
  readonly #url: string;
  readonly #token: string | undefined;

  constructor(url: string, token?: string) {
    this.#url = url;
    this.#token = token;
  }

  async upload(
    bytes: Uint8Array | AsyncIterable<Uint8Array>,
    { name, headers = {} }: { readonly name?: string; readonly headers?: Record<string, string> } = {},
  ): Promise<Answered<MediaView & { code?: string }>> {
    const query = name === undefined ? "" : `?name=${encodeURIComponent(name)}`;
    const source = bytes instanceof Uint8Array ? [bytes] : bytes;
    const answer = await this.#send("POST", `/v1/media${query}`, headers, source);
    return {
      status: answer.statusCode ?? 0,
      headers: answer.headers,
      body: JSON.parse(await textOf(answer)) as MediaView & { code?: string },
    };
  }

  async post<T>(path: string, body: unknown): Promise<Answered<T>> {
    const answer = await this.#send("POST", path, { "content-type": "application/json" }, [
      Buffer.from(JSON.stringify(body)),
    ]);
    return {
      status: answer.statusCode ?? 0,
      headers: answer.headers,
      body: JSON.parse(await textOf(answer)) as T,
    };
  }

  /** @throws Error when the connection ends before the whole body is there */
  async get(path: string, headers: Record<string, string> = {}): Promise<Answered<Buffer>> {
    const answer = await this.#send("GET", path, headers);
    const parts: Buffer[] = [];
    for await (const part of answer) parts.push(part as Buffer);
    return { status: answer.statusCode ?? 0, headers: answer.headers, body: Buffer.concat(parts) };
  }

  async head(path: string): Promise<Answered<undefined>> {
    const answer = await this.#send("HEAD", path, {});
    answer.resume();
    return { status: answer.statusCode ?? 0, headers: answer.headers, body: undefined };
  }

  /** Reads without keeping. @returns SHA-256 in hexadecimal and the number of bytes */
  async digest(path: string): Promise<{ readonly sha256: string; readonly bytes: number }> {
    const hash = createHash("sha256");
    let bytes = 0;
    for await (const part of await this.#send("GET", path, {})) {
      hash.update(part as Buffer);
      bytes += (part as Buffer).byteLength;
    }
    return { sha256: hash.digest("hex"), bytes };
  }

  #send(
    method: string,
    path: string,
    headers: Record<string, string>,
    source?: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
  ): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const sent = request(new URL(path, this.#url), {
        method,
        agent: false,
        headers: {
          ...(this.#token !== undefined && { authorization: `Bearer ${this.#token}` }),
          ...(source !== undefined && { "content-type": "application/octet-stream" }),
          ...headers,
        },
      });
      sent.once("response", resolve);
      sent.once("error", reject);
      if (source === undefined) sent.end();
      // The server may answer, and close, before it has read everything: then the answer counts.
      else pipeline(Readable.from(source, { objectMode: false }), sent).catch(reject);
    });
  }
}

async function textOf(answer: IncomingMessage): Promise<string> {
  const parts: Buffer[] = [];
  for await (const part of answer) parts.push(part as Buffer);
  return Buffer.concat(parts).toString("utf8");
}

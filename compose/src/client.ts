/** The HTTP API as commands see it. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { FabricError } from "@linkspan/envelopes";
import type { Config } from "./config.ts";

/** Where the all-in-one leaves its owner's token for the commands beside it. */
export const TOKEN_FILE = "owner.token";

export interface Client {
  readonly url: string;
  get<T>(path: string): Promise<T>;
  send<T>(
    method: "POST" | "PUT" | "DELETE",
    path: string,
    body?: unknown,
    headers?: Record<string, string>,
  ): Promise<T>;
  /** Server-sent events from `path`; ends when the server closes or `signal` aborts. */
  stream(path: string, signal: AbortSignal, lastEventId?: string): AsyncIterable<StreamEvent>;
}

export interface StreamEvent {
  readonly id: string | undefined;
  readonly event: string;
  readonly data: string;
}

/** @throws FabricError `request.unauthorized` when no token is to be found */
export async function connect(config: Config): Promise<Client> {
  const url = (config.core_url ?? `http://${config.host}:${config.port}`).replace(/\/$/, "");
  const token = config.token ?? (await readToken(config.data));
  const call = async (path: string, init: RequestInit): Promise<Response> => {
    const headers = { authorization: `Bearer ${token}`, ...(init.headers as Record<string, string>) };
    const response = await fetch(`${url}${path}`, { ...init, headers }).catch((cause: unknown) => {
      throw new FabricError("bus.unavailable", `nothing answers at ${url}; is linkspan up running?`, {
        cause,
      });
    });
    if (!response.ok) throw await problem(response);
    return response;
  };
  return {
    url,
    get: async (path) => parse(await call(path, {})),
    send: async (method, path, body, headers = {}) =>
      parse(
        await call(path, {
          method,
          ...(body !== undefined && { body: JSON.stringify(body) }),
          headers: { ...(body !== undefined && { "content-type": "application/json" }), ...headers },
        }),
      ),
    stream: async function* (path, signal, lastEventId) {
      const headers = {
        accept: "text/event-stream",
        ...(lastEventId !== undefined && { "last-event-id": lastEventId }),
      };
      const response = await call(path, { signal, headers });
      if (response.body !== null) yield* parseEvents(response.body);
    },
  };
}

async function readToken(data: string): Promise<string> {
  try {
    return (await readFile(join(data, TOKEN_FILE), "utf8")).trim();
  } catch (cause) {
    throw new FabricError(
      "request.unauthorized",
      "set LINKSPAN_TOKEN, or LINKSPAN_DATA to the data directory",
      { cause },
    );
  }
}

async function parse<T>(response: Response): Promise<T> {
  const text = await response.text();
  return (text === "" ? undefined : JSON.parse(text)) as T;
}

async function problem(response: Response): Promise<Error> {
  const text = await response.text();
  try {
    const { code, detail, title } = JSON.parse(text) as {
      code?: FabricError["code"];
      detail?: string;
      title?: string;
    };
    if (code !== undefined) return new FabricError(code, detail ?? title ?? `HTTP ${response.status}`);
  } catch (cause) {
    return new FabricError("internal", `HTTP ${response.status}`, { cause });
  }
  return new FabricError("internal", `HTTP ${response.status}`);
}

/** WHATWG event stream: fields by line, an event per blank line; comments are dropped. */
async function* parseEvents(body: ReadableStream<Uint8Array>): AsyncIterable<StreamEvent> {
  let rest = "";
  for await (const chunk of body.pipeThrough(
    new TextDecoderStream() as never,
  ) as unknown as AsyncIterable<string>) {
    const blocks = (rest + chunk).split("\n\n");
    rest = blocks.pop() ?? "";
    for (const block of blocks) {
      const fields = new Map<string, string[]>();
      for (const line of block.split("\n")) {
        const at = line.indexOf(":");
        if (at <= 0) continue;
        const name = line.slice(0, at);
        fields.set(name, [...(fields.get(name) ?? []), line.slice(at + 1).replace(/^ /, "")]);
      }
      const data = fields.get("data");
      if (data === undefined) continue;
      yield {
        id: fields.get("id")?.[0],
        event: fields.get("event")?.[0] ?? "message",
        data: data.join("\n"),
      };
    }
  }
}

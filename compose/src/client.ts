/** The HTTP API, as the commands use it. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { CODES, type ErrorCode, FabricError } from "@linkspan/envelopes";
import type { Config } from "./config.ts";
import { parseEvents, type StreamEvent } from "./sse.ts";

/**
 * Files in which the all-in-one stores its owner's token and its address for commands on the same machine.
 */
export const TOKEN_FILE = "owner.token";
export const URL_FILE = "api.url";

export interface Client {
  readonly url: string;
  /** The configured workspace: the one that requests are about. */
  readonly workspace: string | undefined;
  get<T>(path: string): Promise<T>;
  send<T>(
    method: "POST" | "PUT" | "DELETE",
    path: string,
    body?: unknown,
    headers?: Readonly<Record<string, string>>,
  ): Promise<T>;
  /** Server-sent events from `path`; ends when the server closes, rejects when `signal` aborts. */
  stream(path: string, signal: AbortSignal, lastEventId?: string): AsyncIterable<StreamEvent>;
}

/** @throws FabricError `request.unauthorized` when no token is found */
export async function connect(config: Config): Promise<Client> {
  const url = await addressOf(config);
  const token = config.token ?? (await readToken(config.data));
  const own = {
    authorization: `Bearer ${token}`,
    // `*` is not a workspace: a token for all workspaces acts for all of them when it names none.
    ...(config.workspace !== undefined &&
      config.workspace !== "*" && { "x-linkspan-workspace": config.workspace }),
  };
  const call = async (path: string, init: RequestInit): Promise<Response> => {
    const headers = { ...own, ...(init.headers as Record<string, string>) };
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
    workspace: config.workspace,
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
      if (response.body !== null) yield* parseEvents(response.body as AsyncIterable<Uint8Array>);
    },
  };
}

/** The API's address: as configured, or as stored by the all-in-one that runs on this data directory. */
export async function addressOf({ core_url, data, host, port }: Config): Promise<string> {
  const written = async () => (await readFile(join(data, URL_FILE), "utf8").catch(() => "")).trim();
  return (core_url ?? ((await written()) || `http://${host}:${port}`)).replace(/\/$/, "");
}

async function readToken(data: string): Promise<string> {
  try {
    return (await readFile(join(data, TOKEN_FILE), "utf8")).trim();
  } catch (cause) {
    throw new FabricError(
      "request.unauthorized",
      `no token in ${data}: start linkspan up, or set LINKSPAN_DATA to its data directory, or LINKSPAN_TOKEN`,
      { cause },
    );
  }
}

async function parse<T>(response: Response): Promise<T> {
  const text = await response.text();
  return (text === "" ? undefined : JSON.parse(text)) as T;
}

/** The API's answer. When another program answers in its place, reports only that. */
async function problem(response: Response): Promise<FabricError> {
  const text = await response.text();
  const told = parseProblem(text);
  if (told?.code === undefined || !Object.hasOwn(CODES, told.code)) {
    return new FabricError(
      "internal",
      `${response.url} answered ${response.status} and not as Linkspan does`,
    );
  }
  const { code, detail, title, retry_after_ms: retryAfterMs } = told;
  return new FabricError(code, detail ?? title ?? `HTTP ${response.status}`, {
    ...(retryAfterMs !== undefined && { retryAfterMs }),
  });
}

interface ToldProblem {
  readonly code?: ErrorCode;
  readonly detail?: string;
  readonly title?: string;
  readonly retry_after_ms?: number;
}

function parseProblem(text: string): ToldProblem | undefined {
  try {
    return JSON.parse(text) as ToldProblem;
  } catch {
    return undefined; // not JSON, so not ours
  }
}

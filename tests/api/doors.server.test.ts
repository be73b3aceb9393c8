/** Generated garbage at every route of the document: each answer is a refusal with a code, or a result of one's own. */
import { once } from "node:events";
import { connect } from "node:net";
import { isErrorCode } from "@linkspan/envelopes";
import { quarantine } from "@linkspan/store";
import fc from "fast-check";
import { beforeAll, expect, test } from "vitest";
import { type ApiWorld, describeApi } from "./api-world.ts";

interface Schema {
  readonly type?: string;
  readonly properties?: Record<string, Schema>;
}
interface Parameter {
  readonly name: string;
  readonly in: "path" | "query" | "header";
}
interface Operation {
  readonly operationId: string;
  readonly parameters?: readonly Parameter[];
  readonly requestBody?: { readonly content: { readonly "application/json"?: { readonly schema: Schema } } };
}
interface Document {
  readonly paths: Record<string, Record<string, Operation>>;
}

/** Stands in everything that the other tenant has, and in no request. */
const CANARY = "canary-5f1d";
const REQUESTS_PER_ROUTE = 60;
const seed = Number(process.env["LINKSPAN_TEST_SEED"] ?? Date.now() % 2 ** 31);

const GARBAGE = [
  "",
  "\0",
  "a\0b",
  "\ud800",
  "x".repeat(300),
  "é".repeat(5_000),
  "-1",
  "0",
  "1",
  "1e400",
  "9007199254740993",
  "99999999999999999999",
  "NaN",
  "latest",
  "../../etc/passwd",
  "' OR 1=1 --",
  "*",
  "_",
  "__proto__",
  "%00",
  "%ff",
  "9999-12-31T23:59:59Z",
  "0000-01-01T00:00:00Z",
  "msgr://channels/acme/bridge/irc/libera/%23a",
  "msgr://channels/rival/bridge/irc/libera/%23a",
] as const;

/** Wide enough that no request is refused for its rate. */
const wide = { perSecond: 1e6, burst: 1e6 };
const limits = {
  perToken: wide,
  perWorkspace: wide,
  anonymous: wide,
  failures: wide,
  mistakes: wide,
  bodyBytes: wide,
};

describeApi("every HTTP door", { limits }, (api) => {
  let known: readonly string[];

  beforeAll(async () => {
    known = await twoTenants(api.world);
  });

  test("is bounded: garbage is a 4xx with a code, never a 5xx, and shows nothing of another tenant", async () => {
    const { body: document } = await api.world.ask<Document>("GET", "/openapi.json");
    const owner = await api.world.token("owner-of-acme", "owner", "acme");
    const faults: string[] = [];
    let requests = 0;
    let operations = 0;
    for (const [path, methods] of Object.entries(document.paths)) {
      for (const [method, operation] of Object.entries(methods)) {
        operations += 1;
        const samples = fc.sample(requestsFor(path, operation, known), {
          numRuns: REQUESTS_PER_ROUTE,
          seed: seed + operations,
        });
        for (const sample of samples) {
          requests += 1;
          const fault = await faultOf(api.world, method.toUpperCase(), sample, owner);
          if (fault !== undefined)
            faults.push(`${operation.operationId} ${JSON.stringify(sample).slice(0, 600)}: ${fault}`);
        }
      }
    }
    expect(faults, `seed ${seed}`).toEqual([]);
    expect(operations).toBeGreaterThan(25);
    expect(requests).toBe(operations * REQUESTS_PER_ROUTE);
  });

  test.each([
    ["NUL in the path", "/v1/intents/a%00b"],
    ["NUL in the query", "/v1/identities?user_id=a%00b"],
    ["a path that is no UTF-8", "/v1/intents/%ff"],
    ["half an escape", "/v1/intents/%"],
    ["an endless segment", `/v1/intents/${"a".repeat(5_000)}`],
    ["an id that is too long", `/v1/intents/${"a".repeat(300)}`],
    ["a number beyond its range", "/v1/events?cursor=99999999999999999999"],
    ["a parameter given twice", "/v1/events?limit=1&limit=2"],
    ["a limit beyond its range", "/v1/audit?limit=1000000"],
  ])("%s is refused with a code", async (_what, path) => {
    const answer = await raw(`GET ${path} HTTP/1.1\r\nauthorization: Bearer ${api.world.owner}\r\n`);
    expect([400, 404]).toContain(answer.status);
    expect(isErrorCode(answer.problem.code)).toBe(true);
  });

  test.each([
    ["nested deeper than an envelope", `{"fields":${"[".repeat(10_000)}${"]".repeat(10_000)}}`, 400],
    ["no UTF-8", Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]), 400],
    ["a text with NUL", String.raw`{"credentials":{"nick":"a\u0000b"}}`, 400],
    ["half a surrogate pair", String.raw`{"credentials":{"nick":"\ud800"}}`, 400],
    ["half a surrogate pair in a name", String.raw`{"credentials":{"\ud800":"x"}}`, 400],
    ["a number too large for JSON", '{"credentials":{"port":1e400}}', 400],
    ["more than the route takes", `{"credentials":{"nick":"${"x".repeat(300_000)}"}}`, 413],
  ])("a body with %s is refused with a code", async (_what, payload, status) => {
    const opened = await api.world.ask<{ data: { id: string } }>("POST", "/api/bridges/irc/sessions", {
      as: api.world.owner,
      body: { user_id: "u1" },
    });
    const answer = await api.world.api.app.inject({
      method: "POST",
      url: `/api/bridges/irc/sessions/${opened.body.data.id}/credentials`,
      headers: { authorization: `Bearer ${api.world.owner}`, "content-type": "application/json" },
      payload,
    });
    expect(answer.statusCode).toBe(status);
    expect(isErrorCode(answer.json<{ code: string }>().code)).toBe(true);
  });

  test("headers that are too large are refused as a problem, and the connection ends", async () => {
    const answer = await raw(`GET /health/live HTTP/1.1\r\nx-large: ${"x".repeat(20_000)}\r\n`);
    expect(answer.status).toBe(431);
    expect(answer.problem.code).toBe("request.invalid");
  });

  test("lists are bounded: pages follow one another without a gap", async () => {
    for (let i = 0; i < 7; i++) await api.world.identity(`paged-${i}`, "paged");
    const as = await api.world.token("lister", "backend", "paged");
    const seen: string[] = [];
    for (let after: string | undefined = ""; after !== undefined; ) {
      const query: string = after === "" ? "" : `&after=${after}`;
      const { body } = await api.world.ask<{ identities: { id: string }[]; next_after?: string }>(
        "GET",
        `/v1/identities?limit=3${query}`,
        { as },
      );
      expect(body.identities.length).toBeLessThanOrEqual(3);
      seen.push(...body.identities.map(({ id }) => id));
      after = body.next_after;
    }
    expect(seen).toEqual(Array.from({ length: 7 }, (_, i) => `paged-${i}`));
  });

  /** Bytes as they are, over a socket. */
  async function raw(head: string): Promise<{ status: number; problem: { code: string } }> {
    const { hostname, port } = new URL(api.world.api.url);
    const socket = connect(Number(port), hostname);
    let text = "";
    socket.on("data", (chunk: Buffer) => (text += chunk.toString("latin1")));
    socket.on("error", () => undefined);
    socket.write(`${head}host: x\r\nconnection: close\r\n\r\n`);
    await once(socket, "close");
    const [line = "", ...rest] = text.split("\r\n");
    return {
      status: Number(line.split(" ")[1]),
      problem: JSON.parse(rest.join("\r\n").split("\r\n\r\n")[1] ?? "{}") as { code: string },
    };
  }
});

interface Request {
  readonly url: string;
  readonly headers: Record<string, string>;
  readonly body: string | undefined;
}

/** @param known ids of both tenants, so that requests get beyond the first check */
function requestsFor(
  path: string,
  { parameters = [], requestBody }: Operation,
  known: readonly string[],
): fc.Arbitrary<Request> {
  const text = fc.oneof(fc.constantFrom(...GARBAGE, ...known), fc.string({ unit: "binary", maxLength: 40 }));
  const inPath = parameters.filter((one) => one.in === "path").map(({ name }) => name);
  const inQuery = parameters.filter((one) => one.in === "query").map(({ name }) => name);
  const properties = Object.keys(requestBody?.content["application/json"]?.schema.properties ?? {});
  const value = fc.oneof(
    { weight: 3, arbitrary: text },
    fc.jsonValue({ maxDepth: 4 }),
    fc.constantFrom(
      { text: "hi" },
      { text: "a\0" },
      { text: "\ud800" },
      { nick: "x" },
      [],
      null,
      true,
      1,
      -1,
      1.5,
    ),
  );
  const body = fc.oneof(
    {
      weight: 4,
      arbitrary: fc
        .dictionary(fc.constantFrom(...properties, "extra", "__proto__"), value, { maxKeys: 6 })
        .map((it) => JSON.stringify(it)),
    },
    fc.json({ maxDepth: 3 }),
    fc.constantFrom("", "{", "[]", "null", `${"[".repeat(200)}${"]".repeat(200)}`, '{"a":1e999}'),
  );
  return fc.record({
    url: fc
      .tuple(
        fc.array(text, { minLength: inPath.length, maxLength: inPath.length }),
        fc.dictionary(fc.constantFrom(...inQuery.filter((name) => name !== "wait_ms"), "unknown"), text, {
          maxKeys: 4,
        }),
      )
      .map(([segments, query]) => {
        const filled = inPath.reduce(
          (so, name, at) => so.replace(`{${name}}`, escaped(segments[at] ?? "")),
          path,
        );
        const pairs = Object.entries(query).map(([name, one]) => `${name}=${escaped(one)}`);
        return pairs.length === 0 ? filled : `${filled}?${pairs.join("&")}`;
      }),
    headers: fc.record({ "idempotency-key": fc.constantFrom("", "k1", "k2", "é", "x".repeat(400)) }),
    body: requestBody === undefined ? fc.constant(undefined) : body,
  });
}

/** Percent-encoded as bytes; a lone surrogate, which has none, as the bytes that encoders without care write. */
function escaped(text: string): string {
  return text.isWellFormed() ? encodeURIComponent(text) : "%ed%a0%80";
}

async function faultOf(
  world: ApiWorld,
  method: string,
  { url, headers, body }: Request,
  token: string,
): Promise<string | undefined> {
  const asked = world.api.app.inject({
    method: method as "GET",
    url,
    headers: {
      authorization: `Bearer ${token}`,
      ...headers,
      ...(body !== undefined && { "content-type": "application/json" }),
    },
    ...(body !== undefined && { payload: body }),
    // A stream that opens is as good as an answer.
    signal: AbortSignal.timeout(url.includes("/stream") ? 100 : 30_000),
  });
  const answer = await asked.catch((error: unknown) =>
    error instanceof Error ? error : new Error(String(error)),
  );
  if (answer instanceof Error)
    return answer.name === "AbortError" && url.includes("/stream") ? undefined : answer.message;
  // Else nothing behind the limits would be tried.
  if (answer.statusCode === 429 || answer.statusCode === 401) return `${answer.statusCode}`;
  if (answer.statusCode >= 500) return `${answer.statusCode} ${answer.body.slice(0, 300)}`;
  if (answer.body.includes(CANARY)) return "shows what is another tenant's";
  // An answer to HEAD has a status and headers only.
  if (method === "HEAD") return answer.body === "" ? undefined : "a body";
  if (answer.statusCode >= 400 && !isErrorCode(answer.json<{ code: string }>().code)) return "no code";
  return undefined;
}

/** @returns ids of everything that either has */
async function twoTenants(world: ApiWorld): Promise<string[]> {
  const ids: string[] = [];
  for (const [workspace, mark] of [
    ["acme", "own"],
    ["rival", CANARY],
  ] as const) {
    const identity = `identity-of-${workspace}`;
    await world.identity(identity, workspace, mark);
    const as = await world.token(`${mark}-token`, "backend", workspace);
    const intent = await world.ask<{ id: string }>("POST", "/v1/intents", {
      as,
      headers: { "idempotency-key": "first" },
      body: {
        identity_id: identity,
        conversation: `msgr://channels/${workspace}/bridge/irc/libera/%23a`,
        payload: { text: mark },
      },
    });
    expect(intent.status).toBe(202);
    await world.event(mark, workspace, identity);
    const session = await world.ask<{ data: { id: string } }>("POST", "/api/bridges/irc/sessions", {
      as,
      body: { user_id: mark },
    });
    const refused = await quarantine(world.core.database.pool, {
      code: "envelope.schema",
      detail: mark,
      routingKey: "irc._.inbound_event.p00",
      issuer: "daemon:irc:primary",
      workspaceId: workspace,
      messageId: undefined,
      kid: undefined,
      sig: undefined,
      body: Buffer.from(mark),
    });
    ids.push(identity, intent.body.id, session.body.data.id, refused, "irc", workspace);
  }
  return ids;
}

/** What one caller may take: rates, connections, time, streams and bytes, over real sockets. */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { randomUUID } from "node:crypto";
import { DEFAULT_LIMITS } from "@linkspan/api";
import { refusalsOf } from "@linkspan/store";
import { expect, test } from "vitest";
import { until } from "../servers/until.ts";
import { type Answer, type ApiWorld, describeApis } from "./api-world.ts";

interface Problem {
  readonly code: string;
  readonly detail: string;
  readonly retry_after_ms?: number;
}

const rate = (burst: number) => ({ perSecond: 0.01, burst });

describeApis("limits over HTTP", (start) => {
  const limited = (answer: Answer<Problem>) => {
    expect([answer.status, answer.body.code]).toEqual([429, "request.rate_limited"]);
    expect(Number(answer.headers["retry-after"])).toBeGreaterThan(0);
    expect(answer.body.retry_after_ms).toBeGreaterThan(0);
  };

  test("each token and each workspace is held to its rate, and no other is", async () => {
    const limits = { perToken: rate(3), perWorkspace: rate(5) };
    await using world = await start({ limits });
    const [one, two, rival] = [
      await world.token("one", "backend"),
      await world.token("two", "backend"),
      await world.token("one", "backend", "rival"),
    ];
    const ask = (as: string) => world.ask<Problem>("GET", "/v1/intents", { as });
    for (let i = 0; i < 3; i++) expect((await ask(one)).status).toBe(200);
    limited(await ask(one));
    expect([(await ask(two)).status, (await ask(two)).status]).toEqual([200, 200]);
    limited(await ask(two));
    expect((await ask(rival)).status).toBe(200);
    expect((await ask(world.owner)).status).toBe(200);
  });

  test("the members of a list count like requests, and those that are refused like mistakes", async () => {
    const limits = { perToken: rate(5), mistakes: rate(3) };
    await using world = await start({ limits });
    await world.identity("alice");
    const [one, two] = [await world.token("one", "backend"), await world.token("two", "backend")];
    const record = (as: string, intents: readonly object[]) =>
      world.ask<Problem>("POST", "/v1/intents", { as, body: { intents } });
    const sound = (key: number) => ({
      idempotency_key: `k${key}`,
      identity_id: "alice",
      payload: { text: "hi" },
    });
    expect((await record(one, [1, 2, 3, 4].map(sound))).status).toBe(200);
    expect((await world.ask("GET", "/v1/intents", { as: one })).status).toBe(200);
    limited(await world.ask<Problem>("GET", "/v1/intents", { as: one }));
    expect((await record(two, [{}, {}, {}])).status).toBe(200);
    limited(await world.ask<Problem>("GET", "/v1/intents", { as: two }));
  });

  test("requests of one workspace that wait for the database leave turns and connections to everybody else", async () => {
    await using world = await start({ limits: { turns: { atOnce: 2, perTenant: 1 } } });
    const [acme, rival] = [await world.token("a", "backend"), await world.token("r", "backend", "rival")];
    await world.identity("alice");
    const body = { identity_id: "alice", payload: { text: "hi" } };
    const headers = { "idempotency-key": "one" };
    const { body: intent } = await world.ask("POST", "/v1/intents", { as: acme, body, headers });
    expect((await world.ask("GET", "/v1/intents", { as: rival })).status).toBe(200);
    const { pool } = world.core.database;
    const holder = await pool.connect();
    let answers: Promise<Answer<unknown>[]> | undefined;
    try {
      await holder.query("BEGIN");
      await holder.query("SELECT 1 FROM intents WHERE id = $1 FOR UPDATE", [intent.id]);
      const cancel = () => world.ask("POST", `/v1/intents/${String(intent.id)}/cancel`, { as: acme });
      answers = Promise.all(Array.from({ length: 30 }, cancel));
      const waiting = async () => {
        const { rows } = await world.core.database.query<{ count: number }>(
          "SELECT count(*)::int AS count FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
        );
        return rows[0]?.count ?? 0;
      };
      await until(async () => (await waiting()) > 0, { what: "a request to wait for the row" });
      expect((await world.ask("GET", "/v1/intents", { as: rival })).status).toBe(200);
      expect(pool.waitingCount).toBe(0);
      expect(await waiting()).toBeGreaterThan(0);
    } finally {
      await holder.query("ROLLBACK");
      holder.release();
    }
    expect(new Set((await answers).map(({ status }) => status))).toEqual(new Set([200]));
  });

  test("a token whose requests are refused for what they say is held up, and no other is", async () => {
    await using world = await start({ limits: { mistakes: rate(3) } });
    const [one, two] = [await world.token("one", "backend"), await world.token("two", "backend")];
    const wrong = [
      await world.ask<Problem>("POST", "/v1/intents", { as: one, body: { payload: 1 } }),
      await world.ask<Problem>("GET", "/v1/intents/none", { as: one }),
      await world.ask<Problem>("DELETE", "/v1/tokens/none", { as: one }),
    ];
    expect(wrong.map(({ status }) => status)).toEqual([400, 404, 403]);
    const fourth = await world.ask<Problem>("GET", "/v1/intents/none", { as: one });
    expect([404, 429]).toContain(fourth.status);
    limited(await world.ask<Problem>("GET", "/v1/intents", { as: one }));
    expect((await world.ask("GET", "/v1/intents", { as: two })).status).toBe(200);
  });

  test("an address that floods is refused, but no valid token from it, also one not seen before", async () => {
    await using world = await start();
    const address = "203.0.113.9";
    const guess = (i: number) =>
      world.ask<Problem>("GET", "/v1/intents", { as: `lsp_${String(i).padStart(43, "g")}`, address });
    const answers = await Promise.all(Array.from({ length: 200 }, (_, i) => guess(i)));
    expect(answers.filter(({ status }) => status === 401)).toHaveLength(DEFAULT_LIMITS.failures.burst);
    limited(answers.find(({ status }) => status === 429) as Answer<Problem>);
    const fresh = await world.token("fresh", "backend");
    expect((await world.ask("GET", "/v1/intents", { as: fresh, address })).status).toBe(200);
  });

  test("open routes and unknown paths are held to the address's rate", async () => {
    await using world = await start({ limits: { anonymous: rate(4) } });
    const paths = ["/health/live", "/metrics", "/nowhere", "/openapi.json"];
    const ask = (path: string, address: string) =>
      world.api.app.inject({ method: "GET", url: path, remoteAddress: address });
    const first = await Promise.all(paths.map((path) => ask(path, "2001:db8::1")));
    expect(first.map(({ statusCode }) => statusCode)).toEqual([200, 200, 404, 200]);
    expect((await ask("/health/live", "2001:db8::2")).statusCode).toBe(429);
    expect((await ask("/health/live", "2001:db8:0:1::1")).statusCode).toBe(200);
  });

  test("X-Forwarded-For is believed of listed proxies only", async () => {
    const limits = { anonymous: rate(1) };
    await using world = await start({ limits, trustProxy: ["10.0.0.0/8"] });
    const ask = async (remoteAddress: string, forwarded: string) =>
      (
        await world.api.app.inject({
          method: "GET",
          url: "/health/live",
          remoteAddress,
          headers: { "x-forwarded-for": forwarded },
        })
      ).statusCode;
    expect(await ask("10.1.1.1", "198.51.100.1")).toBe(200);
    expect(await ask("10.1.1.1", "198.51.100.2")).toBe(200);
    expect(await ask("10.1.1.1", "203.0.113.1, 198.51.100.2")).toBe(429);
    expect(await ask("192.0.2.1", "198.51.100.3")).toBe(200);
    expect(await ask("192.0.2.1", "198.51.100.4")).toBe(429);
  });

  test("refusals are counted by the minute, for whose they are, and a flood of them is few rows", async () => {
    await using world = await start();
    const { database } = world.core;
    const nobody = (i: number) =>
      world.ask("GET", "/v1/audit", { as: `lsp_${"n".repeat(43)}`, address: `198.51.${i % 100}.${i >> 4}` });
    for (let i = 0; i < 600; i++) await nobody(i);
    const auditor = await world.token("eyes", "auditor");
    await world.ask("POST", "/v1/tokens", { as: auditor, body: {} });
    await world.ask("GET", "/v1/identities", { as: auditor, headers: { "x-linkspan-workspace": "rival" } });
    await world.ask("POST", "/v1/enrolments", {
      body: { token: "x", public_key_b64u: "k".repeat(43), seal_b64u: "k".repeat(43) },
    });
    const rows = await until(
      async () => {
        const all = await refusalsOf(database.pool, { limit: 1_000 });
        return all.reduce((sum, { count }) => sum + count, 0) === 603 ? all : undefined;
      },
      { what: "603 refusals counted" },
    );
    const of = (kind: string) => rows.filter((row) => row.kind === kind);
    expect(of("unauthorized").length).toBeLessThanOrEqual(2 * 201);
    expect(of("unauthorized").some(({ subject }) => subject === "others")).toBe(true);
    expect(of("forbidden").map(({ workspaceId, subject }) => [workspaceId, subject])).toEqual(
      of("forbidden").map(() => ["acme", "token:eyes"]),
    );
    expect(of("enrolment")).toMatchObject([{ workspaceId: "_", subject: "address:127.0.0.1" }]);
    const seen = await world.ask<{ refusals: { subject: string }[] }>("GET", "/v1/audit/refusals", {
      as: auditor,
    });
    expect(new Set(seen.body.refusals.map(({ subject }) => subject))).toEqual(new Set(["token:eyes"]));
    const all = await world.ask<{ refusals: object[] }>("GET", "/v1/audit/refusals?limit=1000", {
      as: world.owner,
    });
    expect(all.body.refusals).toHaveLength(rows.length);
  });

  const open = async (world: ApiWorld): Promise<Socket> => {
    const { hostname, port } = new URL(world.api.url);
    const socket = connect(Number(port), hostname);
    socket.on("error", () => undefined);
    await once(socket, "connect");
    return socket;
  };
  const textOf = async (socket: Socket): Promise<string> => {
    let text = "";
    socket.on("data", (chunk: Buffer) => (text += chunk.toString()));
    await once(socket, "close");
    return text;
  };

  test("a request that never ends is cut: no byte, half a header, half a body", async () => {
    const limits = { headersMs: 200, requestMs: 400 };
    await using world = await start({ limits });
    const sockets = await Promise.all([open(world), open(world), open(world)]);
    const closed = sockets.map((socket) => textOf(socket));
    sockets[1]?.write("GET /health/live HTTP/1.1\r\nhost: x\r\nx-slow: ");
    sockets[2]?.write(
      `POST /v1/intents HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${world.owner}\r\n` +
        'content-type: application/json\r\ncontent-length: 100\r\n\r\n{"a":',
    );
    for (const text of await Promise.all(closed)) expect(text).toContain("408 Request Timeout");
  });

  test("connections of one address are bounded, a proxy's are everybody's", async () => {
    const limits = { connectionsPerAddress: 3 };
    await using world = await start({ limits });
    const held = await Promise.all([open(world), open(world), open(world)]);
    const refused = await open(world);
    expect(await textOf(refused)).toContain("429 Too Many Requests");
    held[0]?.destroy();
    await until(
      async () => {
        const again = await open(world);
        again.write("GET /health/live HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        return (await textOf(again)).includes("200 OK");
      },
      { what: "room for another" },
    );
    for (const socket of held) socket.destroy();

    await using proxied = await start({ limits, trustProxy: ["127.0.0.1"] });
    const many = await Promise.all(Array.from({ length: 6 }, () => open(proxied)));
    many[5]?.write("GET /health/live HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    expect(await textOf(many[5] as Socket)).toContain("200 OK");
    for (const socket of many) socket.destroy();
  });

  test("streams and long polls of a token are bounded, and a place is free when one ends", async () => {
    await using world = await start({ limits: { streamsPerToken: 2 } });
    const as = await world.token("shop", "backend");
    const leave = new AbortController();
    const stream = () =>
      fetch(`${world.api.url}/v1/events/stream?cursor=latest`, {
        headers: { authorization: `Bearer ${as}` },
        signal: leave.signal,
      });
    expect([(await stream()).status, (await stream()).status]).toEqual([200, 200]);
    limited(await world.ask<Problem>("GET", "/v1/events?cursor=latest&wait_ms=30000", { as }));
    expect((await world.ask("GET", "/v1/events", { as })).status).toBe(200);
    const other = await world.token("other", "backend");
    expect((await world.ask("GET", "/v1/events?cursor=latest&wait_ms=10", { as: other })).status).toBe(200);
    leave.abort();
    await until(
      async () => (await world.ask("GET", "/v1/events?cursor=latest&wait_ms=10", { as })).status === 200,
      { what: "a place" },
    );
  });

  /** All that a stream says until it ends. */
  async function listen(world: ApiWorld, as: string): Promise<string> {
    const answer = await fetch(`${world.api.url}/v1/events/stream?cursor=0`, {
      headers: { authorization: `Bearer ${as}` },
    });
    return answer.text();
  }

  test("a stream whose token is revoked ends with words, within seconds", async () => {
    await using world = await start();
    const as = await world.token("leaver", "backend");
    const told = listen(world, as);
    await until(
      async () => (await world.api.app.inject("/metrics")).body.includes("linkspan_http_event_streams 1"),
      { what: "the stream" },
    );
    await world.ask("DELETE", "/v1/tokens/leaver?workspace_id=acme", { as: world.owner });
    expect(await told).toMatch(/event: end\ndata: \{"code":"request.unauthorized"/);
  });

  test("a reader that does not read is ended with words, holds little, and resumes by its cursor", async () => {
    await using world = await start({ limits: { slowReaderMs: 300 } });
    const workspace = `slow-${randomUUID()}`;
    const as = await world.token("slow", "backend", workspace);
    const count = 30;
    for (let i = 0; i < count; i++) await world.event("x".repeat(400_000), workspace);
    await until(
      async () =>
        (await world.ask<{ events: object[] }>("GET", "/v1/events?limit=1", { as })).body.events.length,
      { what: "events" },
    );
    const socket = await open(world);
    socket.pause();
    socket.write(`GET /v1/events/stream HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${as}\r\n\r\n`);
    await until(
      () =>
        world.logged.some((line) => line.includes('"stream.ended"') && line.includes("request.rate_limited")),
      { what: "the stream's end" },
    );
    const text = textOf(socket);
    socket.resume();
    const told = await text;
    expect(told).toMatch(/event: end\ndata: \{"code":"request.rate_limited"/);
    const last = Number([...told.matchAll(/^id: (\d+)$/gm)].at(-1)?.[1]);
    const rest = await world.ask<{ events: object[] }>("GET", `/v1/events?cursor=${last}&limit=100`, { as });
    const seen = [...told.matchAll(/^id: /gm)].length;
    expect(seen).toBeLessThan(count);
    expect(rest.status).toBe(200);
  });

  test("a database that hangs does not hang readiness, nor pile up checks", async () => {
    let begun = 0;
    const hanging = {
      name: "hanging",
      help: "wait for it",
      check: () => {
        begun += 1;
        return new Promise<never>(() => undefined);
      },
    };
    await using world = await start({ checks: [hanging] });
    interface Readiness {
      readonly checks: readonly { readonly name: string; readonly detail: string }[];
    }
    const answers = await Promise.all(
      Array.from({ length: 50 }, () => world.ask<Readiness>("GET", "/health/ready")),
    );
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([503]));
    expect(answers[0]?.body.checks.at(-1)).toMatchObject({ name: "hanging", detail: "wait for it" });
    expect(begun).toBe(1);
  });

  test("what was seen by a check is for the staff of the installation, not for everybody", async () => {
    const check = {
      name: "instances",
      check: async () => ({ ok: false, detail: "acme's identity alice cannot resume" }),
    };
    await using world = await start({ checks: [check] });
    const open = await world.ask("GET", "/health/ready");
    expect(JSON.stringify(open.body)).not.toContain("alice");
    const bound = await world.token("owner", "owner");
    expect((await world.ask("GET", "/v1/health", { as: bound })).status).toBe(403);
    const seen = await world.ask("GET", "/v1/health", { as: world.owner });
    expect(JSON.stringify(seen.body)).toContain("alice");
  });

  test("a queue that is full refuses with words and a time, of one identity and of a workspace", async () => {
    await using world = await start();
    Object.assign(world.core, {
      intentLimits: { perIdentity: 2, perWorkspace: 3, textBytes: 100, parts: 5 },
    });
    for (const id of ["a", "b"]) await world.identity(id);
    await world.identity("c", "rival");
    const backend = await world.token("shop", "backend");
    const rival = await world.token("shop", "backend", "rival");
    let key = 0;
    const say = (identity_id: string, text = "hi", as = backend, given?: string) =>
      world.ask<Problem>("POST", "/v1/intents", {
        as,
        headers: { "idempotency-key": given ?? `k${(key += 1)}` },
        body: { identity_id, payload: { text } },
      });
    expect((await say("a", "hi", backend, "first")).status).toBe(202);
    expect((await say("a")).status).toBe(202);
    const full = await say("a");
    expect([full.status, full.body.code]).toEqual([429, "intent.queue_full"]);
    expect(Number(full.headers["retry-after"])).toBeGreaterThan(0);
    expect((await say("a", "hi", backend, "first")).status).toBe(202);
    expect((await say("b")).status).toBe(202);
    expect((await say("b")).body.code).toBe("intent.queue_full");
    expect((await say("c", "hi", rival)).status).toBe(202);
    for (const text of ["x".repeat(101), "é".repeat(51), "\n".repeat(5)]) {
      const large = await say("c", text, rival);
      expect([large.status, large.body.code]).toEqual([413, "intent.too_large"]);
    }
  });
});

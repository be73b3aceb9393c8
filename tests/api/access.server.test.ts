/** Who may do what: tokens, roles, workspaces, guessing, and what the outside sees of health. */
import { randomUUID } from "node:crypto";
import { auditTrail, type Role } from "@linkspan/store";
import { expect, test } from "vitest";
import { startPostgres } from "../servers/postgres.ts";
import { ApiWorld, describeApi } from "./api-world.ts";

interface Problem {
  readonly code: string;
  readonly status: number;
  readonly title: string;
  readonly instance: string;
}
interface Created {
  readonly token: string;
  readonly role: Role;
  readonly workspace_id: string;
}

describeApi("access over HTTP", {}, (api) => {
  const create = (as: string, body: object) =>
    api.world.ask<Created & Problem>("POST", "/v1/tokens", { as, body });

  test.each([
    ["none", undefined],
    ["an unknown token", `Bearer lsp_${"a".repeat(43)}`],
    ["another scheme", "Basic dXNlcjpwYXNz"],
    ["a token of another kind", `Bearer lse_${"a".repeat(43)}`],
    ["a blank and more", "Bearer lsp_a b"],
  ])("%s is answered with 401 and a challenge", async (_name, authorization) => {
    const answer = await api.world.ask<Problem>("GET", "/v1/intents", {
      headers: authorization === undefined ? {} : { authorization },
      address: "192.0.2.1",
    });
    expect(answer.status).toBe(401);
    expect(answer.body.code).toBe("request.unauthorized");
    expect(answer.headers["www-authenticate"]).toBe("Bearer");
    expect(answer.headers["x-request-id"]).toBe(answer.body.instance);
  });

  test("each role does what it is for and nothing else", async () => {
    const may: Record<Role, readonly string[]> = {
      owner: ["intents", "events", "audit", "quarantine", "tokens", "connectors"],
      admin: ["intents", "events", "audit", "quarantine", "tokens", "connectors"],
      operator: ["intents", "audit", "quarantine", "connectors"],
      auditor: ["intents", "audit", "quarantine", "connectors"],
      backend: ["intents", "events"],
    };
    const all = ["intents", "events", "audit", "quarantine", "tokens", "connectors"];
    for (const role of Object.keys(may) as Role[]) {
      const as = await api.world.token(`as-${role}`, role, "roles");
      const allowed = [];
      for (const resource of all) {
        const path = resource === "connectors" ? "/v1/connectors/irc" : `/v1/${resource}`;
        const { status } = await api.world.ask("GET", path, { as });
        expect([200, 403]).toContain(status);
        if (status === 200) allowed.push(resource);
      }
      expect(allowed, role).toEqual(may[role]);
    }
  });

  test("a token's secret is shown once, works at once, and stops working at once", async () => {
    const { body } = await create(api.world.owner, { name: "shop", role: "backend", workspace_id: "once" });
    expect((await api.world.ask("GET", "/v1/intents", { as: body.token })).status).toBe(200);
    const list = await api.world.ask<{ tokens: { name: string }[] }>("GET", "/v1/tokens?workspace_id=once", {
      as: api.world.owner,
    });
    expect(list.body.tokens.map((token) => token.name)).toEqual(["shop"]);
    expect(JSON.stringify(list.body)).not.toContain(body.token.slice(4));

    const again = await create(api.world.owner, { name: "shop", role: "backend", workspace_id: "once" });
    expect(again.body.code).toBe("request.invalid");
    const revoked = await api.world.ask("DELETE", "/v1/tokens/shop?workspace_id=once", {
      as: api.world.owner,
    });
    expect(revoked.status).toBe(204);
    expect((await api.world.ask("GET", "/v1/intents", { as: body.token })).status).toBe(401);
    const trail = await auditTrail(api.world.core.database.pool, { workspaceId: "once", limit: 10 });
    expect(trail.map(({ action, actor }) => [action, actor])).toEqual([
      ["token.revoked", "token:root"],
      ["token.created", "token:root"],
    ]);
  });

  test("nobody gives or takes more than they have, in their workspace only", async () => {
    const admin = await api.world.token("admin", "admin", "bounded");
    const owner = await api.world.token("chief", "owner", "bounded");
    expect((await create(admin, { name: "o", role: "owner" })).status).toBe(403);
    expect((await create(admin, { name: "b", role: "backend", workspace_id: "elsewhere" })).status).toBe(403);
    expect((await create(admin, { name: "b", role: "backend", workspace_id: "*" })).status).toBe(403);
    expect((await create(admin, { name: "b", role: "backend" })).body.workspace_id).toBe("bounded");
    expect((await api.world.ask("DELETE", "/v1/tokens/chief", { as: admin })).status).toBe(403);
    expect((await api.world.ask("GET", "/v1/tokens?workspace_id=roles", { as: owner })).status).toBe(403);
    expect((await create(owner, { name: "_", role: "backend" })).status).toBe(400);
    expect((await create(api.world.owner, { name: "n", role: "backend", workspace_id: "_" })).status).toBe(
      400,
    );
  });

  test("a token for all workspaces acts where it is told, a bound one never elsewhere", async () => {
    const id = `here-${randomUUID()}`;
    await api.world.identity(id, "here");
    const read = (as: string, workspace?: string) =>
      api.world.ask<{ identities: { id: string }[] }>("GET", "/v1/identities", {
        as,
        headers: workspace === undefined ? {} : { "x-linkspan-workspace": workspace },
      });
    expect((await read(api.world.owner, "here")).body.identities.map((identity) => identity.id)).toEqual([
      id,
    ]);
    expect((await read(api.world.owner)).body.identities).toEqual([]);
    const bound = await api.world.token("bound", "backend", "there");
    expect((await read(bound, "here")).status).toBe(403);
    expect((await read(bound, "there")).body.identities).toEqual([]);
    expect((await read(api.world.owner, "no such/workspace")).status).toBe(400);
  });

  test("an address that keeps failing waits, but not those whose tokens are good", async () => {
    const address = "203.0.113.7";
    const good = await api.world.token("good", "backend", "guess");
    expect((await api.world.ask("GET", "/v1/intents", { as: good, address })).status).toBe(200);
    const guess = () =>
      api.world.ask<Problem>("GET", "/v1/intents", { as: `lsp_${"b".repeat(43)}`, address });
    const answers = [];
    for (let i = 0; i < 21; i++) answers.push(await guess());
    expect(answers[19]?.headers["retry-after"]).toBeUndefined();
    expect(Number(answers[20]?.headers["retry-after"])).toBeGreaterThan(0);

    expect((await api.world.ask("GET", "/v1/intents", { as: good, address })).status).toBe(200);
    const other = await api.world.ask("GET", "/v1/intents", {
      as: `lsp_${"b".repeat(43)}`,
      address: "203.0.113.8",
    });
    expect(other.headers["retry-after"]).toBeUndefined();
  });

  test("every unreadable request is a problem with our code", async () => {
    const raw = (headers: Record<string, string>, payload: string) =>
      api.world.api.app.inject({
        method: "POST",
        url: "/v1/tokens",
        headers: { authorization: `Bearer ${api.world.owner}`, ...headers },
        payload,
      });
    const json = { "content-type": "application/json" };
    const refused = [
      [await raw(json, "{"), 400, "request.invalid"],
      [await raw(json, '{"__proto__":{"role":"owner"},"name":"x","role":"backend"}'), 400, "request.invalid"],
      [await raw({ "content-type": "text/plain" }, "name"), 400, "request.invalid"],
      [await raw(json, "x".repeat(1_048_577)), 413, "envelope.too_large"],
      [await api.world.api.app.inject("/nowhere"), 404, "request.not_found"],
    ] as const;
    for (const [answer, status, code] of refused) {
      expect(answer.statusCode).toBe(status);
      expect(answer.headers["content-type"]).toContain("application/problem+json");
      expect(answer.json<Problem>()).toMatchObject({ code, status });
    }
  });

  test("a request id of the caller's is kept when it is one, and drawn anew when not", async () => {
    const answer = async (id: string) =>
      (await api.world.ask("GET", "/health/live", { headers: { "x-request-id": id } })).headers[
        "x-request-id"
      ];
    expect(await answer("abc-123")).toBe("abc-123");
    expect(await answer("a b\tc")).toMatch(/^[0-9a-f-]{36}$/);
  });

  test("ready says what is wrong and what to do; live and metrics answer without a token", async () => {
    interface Readiness {
      readonly status: string;
      readonly checks: { name: string; ok: boolean; detail: string }[];
    }
    const ready = await api.world.ask<Readiness>("GET", "/health/ready");
    expect(ready.status).toBe(200);
    expect(ready.body.checks.map(({ name, ok }) => [name, ok])).toEqual([
      ["database", true],
      ["bus", true],
      ["instances", true],
      ["partitions", true],
      ["vault", true],
    ]);
    const vault = api.world.core.vault;
    vault.seal("tested");
    const sealed = await api.world.ask<Readiness>("GET", "/health/ready");
    expect(sealed.status).toBe(503);
    expect(sealed.body.checks.find(({ name }) => name === "vault")?.detail).toContain("unseal");
    await vault.unseal();

    expect((await api.world.ask("GET", "/health/live")).status).toBe(200);
    const metrics = await api.world.api.app.inject("/metrics");
    expect(metrics.headers["content-type"]).toContain("text/plain");
    expect(metrics.body).toContain('linkspan_http_request_seconds_count{method="GET",route="/health/ready"');
    expect(metrics.body).not.toContain("/nowhere");
  });

  test("a fault of ours tells the caller nothing, and the log no row", async () => {
    await using own = await api.start();
    const token = await own.token("shop", "backend");
    await own.core.database.query("ALTER TABLE intents RENAME TO elsewhere");
    const broken = await own.ask<Problem>("GET", "/v1/intents", { as: token });
    expect(broken.status).toBe(500);
    expect(broken.body).toMatchObject({ code: "internal", detail: "an unexpected fault" });
    const failed = own.logged.map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(failed.find((line) => line["event"] === "http.failed")).toMatchObject({
      request_id: broken.body.instance,
      err: { code: "42P01" },
    });
  });

  test("a database that is away is 503 with a time to come back", async () => {
    await using doomed = await startPostgres();
    await using own = await ApiWorld.start(doomed);
    const token = await own.token("shop", "backend");
    await doomed.kill();

    const away = await own.ask<Problem>("GET", "/v1/intents", { as: token });
    expect(away.status).toBe(503);
    expect(away.body.code).toBe("store.unavailable");
    expect(away.headers["retry-after"]).toBe("1");
    const ready = await own.ask<{ checks: object[] }>("GET", "/health/ready");
    expect(ready.status).toBe(503);
    expect(ready.body.checks[0]).toMatchObject({ name: "database", ok: false });
    expect((await own.ask("GET", "/health/live")).status).toBe(200);
  });
});

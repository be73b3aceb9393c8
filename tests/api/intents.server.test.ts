/** Intents over HTTP: recorded once, answered alike, seen by their own workspace only. */
import { randomUUID } from "node:crypto";
import { intentById } from "@linkspan/store";
import { beforeEach, expect, test } from "vitest";
import { moveIntent } from "../store/intents.ts";
import { describeApi } from "./api-world.ts";

interface Intent {
  readonly id: string;
  readonly state: string;
  readonly code?: string;
  readonly steps: readonly { readonly state: string }[];
  readonly payload: unknown;
}

const channel = (workspace: string) => `msgr://channels/${workspace}/bridge/irc/libera/%23a`;

describeApi("intents over HTTP", {}, (api) => {
  /** Each test has a workspace of its own, with an account `alice-<workspace>`. */
  let workspace: string;
  let alice: string;
  let backend: string;

  beforeEach(async () => {
    workspace = `ws-${randomUUID()}`;
    alice = `alice-${workspace}`;
    await api.world.identity(alice, workspace);
    backend = await api.world.token("shop", "backend", workspace);
  });

  const say = (text: string, over: object = {}) => ({
    identity_id: alice,
    user_id: "u1",
    conversation: channel(workspace),
    payload: { text },
    ...over,
  });
  const record = (key: string, body: unknown, as = backend) =>
    api.world.ask<Intent & { code?: string }>("POST", "/v1/intents", {
      as,
      body,
      headers: { "idempotency-key": key },
    });

  test("the same key with the same body is one intent, at once and later", async () => {
    const both = await Promise.all([record("k1", say("hi")), record("k1", say("hi"))]);
    const later = await record("k1", say("hi"));

    expect(both.map((answer) => answer.status)).toEqual([202, 202]);
    expect(both[0]?.body.state).toBe("queued");
    expect(both[0]?.headers["location"]).toBe(`/v1/intents/${both[0]?.body.id}`);
    expect(new Set([...both, later].map((answer) => answer.body.id)).size).toBe(1);
    const list = await api.world.ask<{ intents: Intent[] }>("GET", "/v1/intents", { as: backend });
    expect(list.body.intents).toHaveLength(1);
  });

  test("the same key with another body is a conflict, and changes nothing", async () => {
    const first = await record("k1", say("hi"));
    const second = await record("k1", say("bye"));

    expect(second.status).toBe(409);
    expect(second.body.code).toBe("intent.conflict");
    const read = await api.world.ask<Intent>("GET", `/v1/intents/${first.body.id}`, { as: backend });
    expect(read.body.payload).toEqual({ text: "hi" });
    expect(read.body.steps.map((step) => step.state)).toEqual(["queued"]);
  });

  test("another workspace has the same key for itself, and sees nothing of this one's", async () => {
    const rival = `rival-${randomUUID()}`;
    const eve = `eve-${rival}`;
    const other = await api.world.token("rival", "backend", rival);
    await api.world.identity(eve, rival);
    const mine = await record("k1", say("hi"));

    const theirs = await record(
      "k1",
      { identity_id: eve, conversation: channel(rival), payload: { text: "hi" } },
      other,
    );
    expect(theirs.status).toBe(202);
    expect(theirs.body.id).not.toBe(mine.body.id);
    expect((await record("k2", say("hi"), other)).body.code).toBe("request.not_found");
    expect((await record("k3", say("hi", { identity_id: eve }))).body.code).toBe("request.not_found");
    for (const path of [`/v1/intents/${mine.body.id}`, `/v1/identities/${alice}`]) {
      expect((await api.world.ask("GET", path, { as: other })).status).toBe(404);
    }
    const cancelled = await api.world.ask("POST", `/v1/intents/${mine.body.id}/cancel`, { as: other });
    expect(cancelled.status).toBe(404);
    expect((await intentById(api.world.core.database.pool, mine.body.id))?.state).toBe("queued");
  });

  test("a conversation of another workspace is refused", async () => {
    const answer = await record("k1", say("hi", { conversation: channel("rival") }));
    expect(answer.status).toBe(400);
  });

  test.each([
    ["no key", undefined, { payload: { text: "x" } }, "request.invalid"],
    ["an unknown member", "k", { surprise: 1 }, "request.invalid"],
    ["another service", "k", { service: "matrix" }, "request.invalid"],
    ["NUL", "k", { payload: { text: "a\0b" } }, "envelope.schema"],
    ["a lone surrogate", "k", { payload: { text: "\ud800" } }, "envelope.not_canonical"],
    ["a member that the action has not", "k", { payload: { text: "x", colour: "red" } }, "request.invalid"],
    ["an action that is asked of daemons", "k", { action: "link_account" }, "action.unsupported"],
    ["no such action", "k", { action: "sing" }, "action.unsupported"],
    ["a time that is none", "k", { expires_at: "tomorrow" }, "request.invalid"],
    ["a time after the year 9999", "k", { expires_at: "9999-12-31T23:59:59-23:00" }, "request.invalid"],
    ["a time before the year 0", "k", { expires_at: "0000-01-01T00:00:00+23:00" }, "request.invalid"],
  ])("%s is refused before anything is written", async (_name, key, over, code) => {
    const answer = await api.world.ask<{ code: string }>("POST", "/v1/intents", {
      as: backend,
      body: say("hi", over),
      ...(key !== undefined && { headers: { "idempotency-key": key } }),
    });
    expect(answer.body.code).toBe(code);
    expect(answer.headers["content-type"]).toContain("application/problem+json");
    const list = await api.world.ask<{ intents: Intent[] }>("GET", "/v1/intents", { as: backend });
    expect(list.body.intents).toEqual([]);
  });

  interface Result {
    readonly status: number;
    readonly intent?: Intent;
    readonly problem?: { readonly code: string; readonly detail: string; readonly instance: string };
  }
  const recordList = (members: readonly unknown[], as = backend) =>
    api.world.ask<{ results: Result[]; code?: string }>("POST", "/v1/intents", {
      as,
      body: { intents: members },
    });
  const memberOf = (idempotency_key: string, text: string, over: object = {}) => ({
    idempotency_key,
    ...say(text, over),
  });
  const places = async () => {
    const { rows } = await api.world.core.database.query<{ text: string }>(
      `SELECT i.payload->>'text' AS text FROM outbox o JOIN intents i ON i.id = o.intent_id
        WHERE i.workspace_id = $1 ORDER BY o.ordinal`,
      [workspace],
    );
    return rows.map(({ text }) => text);
  };

  test("a list: each member has its own key, answer and error, and one conversation keeps its order", async () => {
    const rival = `bob-${randomUUID()}`;
    await api.world.identity(rival, "rival");
    const known = await record("known", say("known"));
    const { status, body } = await recordList([
      memberOf("a", "first"),
      memberOf("bad", "x", { surprise: 1 }),
      memberOf("known", "known"),
      memberOf("b", "second"),
      memberOf("known", "something else"),
      memberOf("c", "x", { identity_id: rival }),
      memberOf("d", "x", { payload: { text: "a\0b" } }),
      memberOf("e", "not theirs", { user_id: "somebody" }),
      say("no key"),
      memberOf("a", "first"),
      "nothing at all",
      memberOf("f", "third"),
    ]);
    expect(status).toBe(200);
    expect(body.results.map((result) => result.problem?.code ?? result.intent?.state)).toEqual([
      "queued",
      "request.invalid",
      "queued",
      "queued",
      "intent.conflict",
      "request.not_found",
      "envelope.schema",
      "denied",
      "request.invalid",
      "queued",
      "request.invalid",
      "queued",
    ]);
    expect(body.results.map((result) => result.status)).toEqual([
      202, 400, 202, 202, 409, 404, 400, 202, 400, 202, 400, 202,
    ]);
    expect(body.results[1]?.problem?.detail).toContain("surprise");
    expect(body.results[2]?.intent?.id).toBe(known.body.id);
    expect(body.results[9]?.intent?.id).toBe(body.results[0]?.intent?.id);
    expect(await places()).toEqual(["known", "first", "second", "third"]);
  });

  test("a list of the most members is one request, and one more than that is refused whole", async () => {
    const members = Array.from({ length: 201 }, (_, i) => memberOf(`k${i}`, `text ${i}`));
    expect((await recordList(members)).body.code).toBe("request.invalid");
    expect((await recordList([])).body.code).toBe("request.invalid");
    expect(await places()).toEqual([]);
    const { body } = await recordList(members.slice(0, 200));
    expect(new Set(body.results.map((result) => result.intent?.state))).toEqual(new Set(["queued"]));
    expect(await places()).toEqual(members.slice(0, 200).map((_, i) => `text ${i}`));
    const trail = await api.world.core.database.query<{ action: string; n: number }>(
      `SELECT action, count(*)::int AS n FROM audit_entries WHERE workspace_id = $1 GROUP BY action ORDER BY action`,
      [workspace],
    );
    expect(trail.rows).toEqual([
      { action: "intent.queued", n: 200 },
      { action: "intent.recorded", n: 200 },
    ]);
  });

  test("a lane that a settlement holds makes its own intents wait, and no other's", async () => {
    const held = await record("held", say("held"));
    const quiet = memberOf("other", "other", { conversation: channel(workspace).replace("%23a", "%23b") });
    const client = await api.world.core.database.pool.connect();
    try {
      await client.query("BEGIN");
      await client.query("SELECT 1 FROM lanes WHERE intent_id = $1 FOR UPDATE", [held.body.id]);
      const waiting = recordList([memberOf("w1", "behind 1"), memberOf("w2", "behind 2")]);
      const { body } = await recordList([quiet]);
      expect(body.results[0]?.status).toBe(202);
      expect(await places()).toEqual(["held", "other"]);
      await client.query("COMMIT");
      expect((await waiting).body.results.map((result) => result.status)).toEqual([202, 202]);
    } finally {
      client.release();
    }
    expect(await places()).toEqual(["held", "other", "behind 1", "behind 2"]);
  });

  test("a queued intent is cancelled, with an audit entry", async () => {
    const { body } = await record("k1", say("hi"));
    const cancelled = await api.world.ask<Intent>("POST", `/v1/intents/${body.id}/cancel`, { as: backend });
    expect(cancelled.body.state).toBe("cancelled");

    const auditor = await api.world.token("eyes", "auditor", workspace);
    const trail = await api.world.ask<{ entries: { action: string; actor: string }[] }>(
      "GET",
      `/v1/audit?subject=${body.id}`,
      { as: auditor },
    );
    expect(trail.body.entries.map(({ action, actor }) => [action, actor])).toEqual([
      ["intent.cancelled", "token:shop"],
      ["intent.queued", "core"],
      ["intent.recorded", "token:shop"],
    ]);
  });

  test("an uncertain intent is settled by an operator, once, and by nobody else", async () => {
    const operator = await api.world.token("night", "operator", workspace);
    const { body } = await record("k1", say("hi"));
    const resolve = (outcome: string, as = operator) =>
      api.world.ask<Intent & { detail?: string }>("POST", `/v1/intents/${body.id}/resolve`, {
        as,
        body: { outcome },
      });
    expect((await resolve("sent")).body.code).toBe("request.invalid");
    await moveIntent(api.world.core.database.pool, body.id, { state: "uncertain", code: "send.uncertain" });

    expect((await resolve("sent", backend)).status).toBe(403);
    const settled = await resolve("sent");
    expect(settled.body).toMatchObject({ state: "sent", detail: "settled by token:night" });
    expect(settled.body.code).toBeUndefined();
    expect((await resolve("sent")).body.state).toBe("sent");
    expect((await resolve("failed")).status).toBe(400);
  });

  test("pages go back to the first intent", async () => {
    const ids = [];
    for (const key of ["a", "b", "c"]) ids.push((await record(key, say(key))).body.id);
    const seen: string[] = [];
    let before: string | undefined;
    do {
      const query = before === undefined ? "" : `&before=${before}`;
      const page = await api.world.ask<{ intents: Intent[]; next_before?: string }>(
        "GET",
        `/v1/intents?limit=2${query}`,
        { as: backend },
      );
      seen.push(...page.body.intents.map((intent) => intent.id));
      before = page.body.next_before;
    } while (before !== undefined);
    expect(seen).toEqual(ids.toReversed());
    expect(JSON.stringify(await api.world.ask("GET", "/v1/intents", { as: backend }))).not.toContain(
      '"payload"',
    );
  });

  test("nothing that was said, and no token, reaches the log", async () => {
    const canary = `canary-${randomUUID()}`;
    await record("k1", say(canary));
    await record("k1", say(`${canary} again`));
    await record("k2", say(canary, { payload: { text: canary, colour: canary } }));
    await record("k3", say(canary), "lsp_wrong");
    const lines = api.world.logged.join("");
    expect(lines).toContain("http.answered");
    expect(lines).not.toContain(canary);
    expect(lines).not.toContain(backend);
    expect(lines).not.toContain("lsp_");
  });
});

/** Backends that submit signed intents on the bus: enrolled, listed, revoked and replaced like daemons, and held to what HTTP holds them to. */
import { randomBytes, randomUUID } from "node:crypto";
import {
  canonical,
  type Envelope,
  noteId,
  routeOf,
  type Signer,
  signerFromSeed,
  timestamp,
  toBase64url,
  traceIdOf,
} from "@linkspan/envelopes";
import { type Bus, EmbeddedBroker } from "@linkspan/fabric";
import { auditTrail } from "@linkspan/store";
import { afterAll, beforeAll, expect, test } from "vitest";
import { describeApi } from "./api-world.ts";

const ENVELOPE_TYPE = "application/vnd.msgr.bridge.v1+json";
const ISSUER = "backend:shop";

interface Issued {
  readonly token: string;
  readonly issuer: string;
  readonly backend?: string;
  readonly service?: string;
  readonly workspaces: readonly string[];
  readonly code?: string;
}
interface Reply {
  readonly intent_id?: string;
  readonly state?: string;
  readonly error?: { readonly code: string; readonly detail: string };
}

const broker = new EmbeddedBroker();

describeApi("a backend on the bus", { broker }, (api) => {
  let bus: Bus;

  beforeAll(async () => {
    bus = broker.connect("shop");
    await api.world.identity("alice", "acme");
    await api.world.identity("rival", "rival");
  });
  afterAll(async () => {
    await bus?.[Symbol.asyncDispose]();
  });

  const issue = (body: object, as = api.world.owner) =>
    api.world.ask<Issued>("POST", "/v1/enrolment-tokens", { as, body });
  const enrol = (token: string, signer: Signer) =>
    api.world.ask<{ kid: string; code?: string }>("POST", "/v1/enrolments", {
      body: { token, public_key_b64u: toBase64url(signer.publicKey) },
    });
  async function enrolled(workspaces = ["acme"]): Promise<Signer> {
    const signer = signerFromSeed(randomBytes(32));
    const { token } = (await issue({ backend: "shop", workspaces })).body;
    const answer = await enrol(token, signer);
    expect(answer.status, JSON.stringify(answer.body)).toBe(201);
    return signer;
  }

  const wanted = {
    identity_id: "alice",
    service: "irc",
    action: "outbound_message",
    conversation: "msgr://channels/acme/bridge/irc/libera/%23a",
    payload: { text: "hello" },
  };

  async function submit(
    signer: Signer,
    over: object = {},
    metadata: object = {},
    action = "submit_intent",
  ): Promise<Reply> {
    const messageId = noteId(ISSUER, action, randomUUID());
    const traceId = traceIdOf(messageId);
    const payload = { ...wanted, idempotency_key: randomUUID(), ...over };
    const envelope: Envelope = {
      schema: "msgr.bridge.v1",
      service: "core",
      action,
      trace_id: traceId,
      occurred_at: timestamp(new Date()),
      metadata: {
        issuer: ISSUER,
        workspace_id: "acme",
        instance: "primary",
        message_id: messageId,
        reply_to: `bridge/core/${action}/reply/${traceId}`,
        ...metadata,
      },
      payload: action === "submit_intent" ? payload : (over as Record<string, unknown>),
    };
    const body = canonical(envelope);
    const sig = signer.sign(ENVELOPE_TYPE, body);
    const message = { body, kid: signer.kid, sig, route: routeOf(envelope, 8), messageId };
    const answer = await bus.request(message, { timeoutMs: 4_000 });
    return (JSON.parse(Buffer.from(answer.body).toString()) as { payload: Reply }).payload;
  }

  test("enrols for its workspaces, and its intent is the one that HTTP would have recorded", async () => {
    const issued = await issue({ backend: "shop", workspaces: ["acme"] });
    expect(issued.body).toMatchObject({ issuer: ISSUER, backend: "shop", workspaces: ["acme"] });
    expect(issued.body.service).toBeUndefined();
    const signer = signerFromSeed(randomBytes(32));
    expect((await enrol(issued.body.token, signer)).status).toBe(201);
    const key = randomUUID();
    const first = await submit(signer, { idempotency_key: key });
    expect(first).toMatchObject({ state: "queued" });
    const token = await api.world.token("shop", "backend");
    const { service: _service, ...body } = wanted;
    const again = await api.world.ask<{ id: string }>("POST", "/v1/intents", {
      as: token,
      headers: { "idempotency-key": key },
      body,
    });
    expect([again.status, again.body.id]).toEqual([202, first.intent_id]);
    const { pool } = api.world.core.database;
    const trail = await auditTrail(pool, { workspaceId: "acme", subject: String(first.intent_id), limit: 5 });
    expect(trail.map(({ actor, action }) => [actor, action])).toContainEqual([ISSUER, "intent.recorded"]);
  });

  test.each([
    ["a key that no header holds", { idempotency_key: "a b" }, "request.invalid"],
    ["another service than the identity's", { service: "echo" }, "request.invalid"],
    ["another workspace's identity", { identity_id: "rival" }, "request.not_found"],
    [
      "a conversation of another workspace",
      { conversation: "msgr://channels/x/bridge/irc/n/%23a" },
      "request.invalid",
    ],
    ["a text that is too large", { payload: { text: "x".repeat(70_000) } }, "intent.too_large"],
    ["what is no payload of the action", { payload: { words: "x" } }, "request.invalid"],
    ["an action of nobody", { action: "ack_event" }, "action.unsupported"],
  ])("%s is refused as over HTTP", async (_name, over, code) => {
    expect((await submit(await enrolled(), over)).error?.code).toBe(code);
  });

  test("the user may be left out, and must be the identity's when named", async () => {
    const signer = await enrolled();
    expect(await submit(signer, {}, { user_id: "u1" })).toMatchObject({ state: "queued" });
    expect(await submit(signer, {}, { user_id: "somebody" })).toMatchObject({ state: "denied" });
  });

  test("it submits for no other workspace, says nothing else, and asks nothing that daemons ask", async () => {
    const signer = await enrolled(["acme"]);
    await expect(submit(signer, { identity_id: "rival" }, { workspace_id: "rival" })).rejects.toThrow();
    expect((await submit(signer, {}, { workspace_id: "_" })).error?.code).toBe("request.invalid");
    const hello = { boot_id: "b", version: "1" };
    expect((await submit(signer, hello, { workspace_id: "_" }, "hello")).error?.code).toBe(
      "envelope.wrong_issuer",
    );
    const everywhere = await enrolled(["*"]);
    const { conversation: _conversation, ...over } = { ...wanted, identity_id: "rival", conversation: "" };
    expect(
      (
        await submit(
          everywhere,
          { ...over, conversation: "msgr://channels/rival/bridge/irc/n/%23a" },
          { workspace_id: "rival" },
        )
      ).state,
    ).toBe("queued");
  });

  test("only who answers for all workspaces enrols one, for workspaces that are named", async () => {
    const bound = await api.world.token("boss", "owner");
    expect((await issue({ backend: "shop", workspaces: ["acme"] }, bound)).status).toBe(403);
    for (const body of [
      { backend: "shop" },
      { backend: "shop", workspaces: [] },
      { backend: "Shop!", workspaces: ["acme"] },
      { backend: "shop", workspaces: ["_"] },
      { backend: "shop", workspaces: ["acme"], service: "irc" },
      { service: "core" },
      { service: "vault" },
    ]) {
      expect((await issue(body)).status, JSON.stringify(body)).toBe(400);
    }
    const daemon = (await issue({ service: "irc" })).body.token;
    const refused = await enrol(daemon, signerFromSeed(randomBytes(32)));
    expect([refused.status, refused.body.code]).toEqual([400, "request.invalid"]);
  });

  test("its key is listed, replaced and revoked like a daemon's", async () => {
    const old = await enrolled(["acme", "rival"]);
    const list = async () =>
      (
        await api.world.ask<{
          keys: { kid: string; state: string; issuers: string[]; workspaces: string[] }[];
        }>("GET", "/v1/keys?limit=500", { as: api.world.owner })
      ).body.keys;
    expect((await list()).find(({ kid }) => kid === old.kid)).toMatchObject({
      issuers: [ISSUER],
      workspaces: ["acme", "rival"],
      state: "in_force",
    });
    const rotated = await api.world.ask<Issued>("POST", `/v1/keys/${old.kid}/rotate`, {
      as: api.world.owner,
      body: { grace_s: 0 },
    });
    expect(rotated.body).toMatchObject({ issuer: ISSUER, backend: "shop", workspaces: ["acme", "rival"] });
    const fresh = signerFromSeed(randomBytes(32));
    expect((await enrol(rotated.body.token, fresh)).status).toBe(201);
    await expect(submit(old)).rejects.toThrow();
    expect(await submit(fresh)).toMatchObject({ state: "queued" });
    const revoked = await api.world.ask("POST", `/v1/keys/${fresh.kid}/revoke`, {
      as: api.world.owner,
      body: { why: "lost" },
    });
    expect(revoked.status).toBe(204);
    await expect(submit(fresh)).rejects.toThrow();
    const trail = await auditTrail(api.world.core.database.pool, {
      workspaceId: "_",
      subject: fresh.kid,
      limit: 5,
    });
    expect(trail.map(({ action }) => action)).toEqual(["backend.key_revoked", "backend.key_rotated"]);
  });
});

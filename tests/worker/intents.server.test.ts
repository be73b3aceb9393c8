/** The way out: what becomes of an intent, whatever happens to it. */
import { randomUUID } from "node:crypto";
import { channelRef } from "@linkspan/envelopes";
import { auditTrail, type Identity, intentById, readEvents, stepsOf } from "@linkspan/store";
import {
  cancelIntent,
  type IntentRequest,
  recordIntent,
  switchConnector,
  sweepExpired,
  unlink,
} from "@linkspan/worker";
import { afterAll, beforeAll, expect, test } from "vitest";
import { describeWithServers } from "../servers/available.ts";
import { type PostgresServer, startPostgres } from "../servers/postgres.ts";
import { until } from "../servers/until.ts";
import { openWorld, type World, WORKSPACE } from "./world.ts";

describeWithServers(["postgres"], "intents", () => {
  let server: PostgresServer;
  let world: World;
  let identity: Identity;

  beforeAll(async () => {
    server = await startPostgres();
    world = await openWorld({ databaseUrl: await server.createDatabase("intents") });
    identity = await world.link();
  });
  afterAll(async () => {
    await world?.[Symbol.asyncDispose]();
    await server?.[Symbol.asyncDispose]();
  });

  const room = (name: string) => channelRef(WORKSPACE, "echo", [name]);
  const say = (text: string, over: Partial<IntentRequest> = {}) =>
    recordIntent(world.core, {
      workspaceId: WORKSPACE,
      userId: identity.user_id,
      identityId: identity.id,
      action: "outbound_message",
      conversation: room("room"),
      payload: { text },
      idempotencyKey: randomUUID(),
      actor: "token:test",
      ...over,
    });
  /** Texts that the platform echoed in a room, in order. */
  const heard = async (name: string) => {
    const events = await readEvents(world.core.database.pool, {
      workspaceId: WORKSPACE,
      after: 0,
      limit: 1_000,
    });
    return events
      .filter((event) => event.conversation === room(name))
      .map((event) => (JSON.parse(event.body.toString()) as { payload: { text?: string } }).payload.text);
  };
  const reload = (id: string) => intentById(world.core.database.pool, id);

  test("the same key and content is the same intent; with other content it is refused", async () => {
    const idempotencyKey = randomUUID();
    const first = await say("once", { idempotencyKey });
    const again = await say("once", { idempotencyKey });
    expect([first.fresh, again.fresh, again.intent.id]).toEqual([true, false, first.intent.id]);
    await expect(say("twice", { idempotencyKey })).rejects.toMatchObject({ code: "intent.conflict" });
    expect(await world.settled(first.intent.id)).toBe("sent");
  });

  test("every step and every decision is written down", async () => {
    const { intent } = await say("traced");
    await world.settled(intent.id);
    const steps = await stepsOf(world.core.database.pool, intent.id);
    expect(steps.map((step) => step.state)).toEqual(["queued", "attempting", "sent"]);
    const trail = await auditTrail(world.core.database.pool, {
      workspaceId: WORKSPACE,
      subject: intent.id,
      limit: 10,
    });
    expect(trail.map((entry) => entry.action).toReversed()).toEqual([
      "intent.recorded",
      "intent.queued",
      "intent.attempting",
      "intent.sent",
    ]);
    expect(JSON.stringify(trail)).not.toContain("traced");
  });

  test("one conversation keeps its order, however many are waiting", async () => {
    const texts = Array.from({ length: 60 }, (_, i) => `ordered ${i}`);
    for (const text of texts) await say(text, { conversation: room("order") });
    await until(async () => (await heard("order")).length === texts.length, { what: "all of them" });
    expect(await heard("order")).toEqual(texts);
  });

  test("a long text goes out in parts and is sent when the last one is", async () => {
    const text = "word ".repeat(500).trim();
    const { intent } = await say(text, { conversation: room("long") });
    expect(await world.settled(intent.id)).toBe("sent");
    const row = await reload(intent.id);
    expect(row?.parts).toBeGreaterThan(1);
    expect(row?.remote_ids).toHaveLength(row?.parts ?? 0);
    await until(async () => (await heard("long")).length === row?.parts, { what: "all parts" });
    expect((await heard("long")).join(" ").split(/\s+/)).toHaveLength(500);
  });

  test("what the platform refuses has failed, with its code, and the lane goes on", async () => {
    const { intent } = await say("!fail platform.forbidden", { conversation: room("fail") });
    const next = await say("after", { conversation: room("fail") });
    expect(await world.settled(intent.id)).toBe("failed");
    expect((await reload(intent.id))?.code).toBe("platform.forbidden");
    expect(await world.settled(next.intent.id)).toBe("sent");
  });

  test("said, but never answered: it is found on the platform, not said again", async () => {
    const { intent } = await say("!uncertain found", { conversation: room("uncertain") });
    expect(["sent", "uncertain"]).toContain(await world.settled(intent.id));
    await until(async () => (await heard("uncertain")).length > 0, { what: "the one echo" });
    expect(await heard("uncertain")).toHaveLength(1);
  });

  test("an action that the service does not have is refused at once", async () => {
    await expect(say("x", { action: "outbound_nonsense" })).rejects.toMatchObject({
      code: "action.unsupported",
    });
    await expect(say("x", { payload: { text: 1 } })).rejects.toMatchObject({ code: "request.invalid" });
  });

  test("another workspace's conversation, identity or user is refused", async () => {
    await expect(say("x", { conversation: channelRef("rival", "echo", ["a"]) })).rejects.toMatchObject({
      code: "request.invalid",
    });
    await expect(say("x", { workspaceId: "rival" })).rejects.toMatchObject({ code: "request.not_found" });
    const { intent } = await say("x", { userId: "somebody-else" });
    expect(intent).toMatchObject({ state: "denied", code: "policy.denied" });
  });

  test("what waits can be cancelled and run out of time; neither is said", async () => {
    const holding = await say("!slow 1500 holding", { conversation: room("wait") });
    const cancelled = await say("cancelled", { conversation: room("wait") });
    const expired = await say("expired", {
      conversation: room("wait"),
      expiresAt: new Date(Date.now() + 300),
    });
    expect((await cancelIntent(world.core, WORKSPACE, cancelled.intent.id, "test")).state).toBe("cancelled");
    await until(async () => (await sweepExpired(world.core)) > 0, { what: "the intent to run out of time" });
    expect(await world.settled(expired.intent.id)).toBe("expired");
    expect(await world.settled(holding.intent.id)).toBe("sent");
    await until(async () => (await heard("wait")).length > 0, { what: "the echo" });
    expect((await heard("wait")).map((text) => text?.split(" ").at(-1))).toEqual(["holding"]);
  });

  test("a killed switch stops what was queued, at the last gate", async () => {
    const holding = await say("!slow 800 before", { conversation: room("kill") });
    const waiting = await say("never", { conversation: room("kill") });
    const off = { workspace_id: WORKSPACE, service: "echo", who: "test", why: "test" };
    await switchConnector(world.core, { ...off, enabled: false });
    expect(await world.settled(waiting.intent.id)).toBe("denied");
    expect((await reload(waiting.intent.id))?.code).toBe("flag.disabled");
    const { intent } = await say("refused at once", { conversation: room("kill") });
    expect(intent).toMatchObject({ state: "denied", code: "flag.disabled" });
    await switchConnector(world.core, { ...off, enabled: true });
    expect(["sent", "denied"]).toContain(await world.settled(holding.intent.id));
  });

  test("unlinking denies what waits and says nothing more", async () => {
    const other = await world.link("user-2");
    const by = { identityId: other.id, userId: "user-2", conversation: room("bye") };
    const first = await say("!slow 500 first", by);
    const waiting = await say("never", by);
    await unlink(world.core, WORKSPACE, other.id, "test");
    expect(await world.settled(waiting.intent.id)).toBe("denied");
    await world.settled(first.intent.id);
    await expect(say("later", by)).rejects.toMatchObject({ code: "request.not_found" });
  });
});

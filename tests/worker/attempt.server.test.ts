/** The last gate: however questions and reports overtake each other, a part is granted once. */
import { randomUUID } from "node:crypto";
import { ownRecord, registerKey } from "@linkspan/compose/parts";
import {
  answerId,
  type AttemptReply,
  channelRef,
  decode,
  encode,
  type Envelope,
  KeyRing,
  noteId,
  routeOf,
  signerFromSeed,
  timestamp,
  traceIdOf,
} from "@linkspan/envelopes";
import type { Bus } from "@linkspan/fabric";
import { claimLease, dequeue, insertIdentity, intentById, updateIdentity } from "@linkspan/store";
import { recordIntent } from "@linkspan/worker";
import { afterAll, beforeAll, expect, test } from "vitest";
import { describeWithServers } from "../servers/available.ts";
import { type PostgresServer, startPostgres } from "../servers/postgres.ts";
import { until } from "../servers/until.ts";
import { openWorld, type World, WORKSPACE } from "./world.ts";

const ISSUER = "daemon:irc:primary";

describeWithServers(["postgres"], "attempt", () => {
  const signer = signerFromSeed(new Uint8Array(32).fill(5));
  let server: PostgresServer;
  let world: World;
  let bus: Bus;
  let epoch = 0;

  beforeAll(async () => {
    server = await startPostgres();
    world = await openWorld({ databaseUrl: await server.createDatabase("attempt"), daemons: false });
    const { core } = world;
    const holder = { issuers: [ISSUER], purposes: ["envelope" as const], services: ["irc"] };
    await registerKey(core, ownRecord(signer, holder, new Date()));
    const alice = {
      id: "alice",
      workspace_id: WORKSPACE,
      user_id: "u",
      service: "irc",
      instance: "primary",
      settings: {},
    };
    await insertIdentity(core.database.pool, alice);
    await updateIdentity(core.database.pool, "alice", { state: "linked" });
    bus = world.broker.connect("irc");
    await bus.declare([
      { name: "irc.primary.all", kind: "shared", bindings: [{ service: "irc", action: "outbound_message" }] },
    ]);
    await takeLease();
  });
  afterAll(async () => {
    await bus?.[Symbol.asyncDispose]();
    await world?.[Symbol.asyncDispose]();
    await server?.[Symbol.asyncDispose]();
  });

  /** A new holder: the epoch grows. */
  async function takeLease(): Promise<void> {
    await world.core.database.query("UPDATE instance_leases SET expires_at = now()");
    const lease = await claimLease(world.core.database.pool, {
      service: "irc",
      instance: "primary",
      holder: randomUUID(),
      kid: signer.kid,
      ttlMs: 600_000,
    });
    if (lease.state !== "held") throw new Error("the lease was not free");
    epoch = lease.epoch;
  }

  /** Recorded and published once, so that attempt 1 is current. */
  async function published(text: string): Promise<string> {
    const { intent } = await recordIntent(world.core, {
      workspaceId: WORKSPACE,
      userId: "u",
      identityId: "alice",
      action: "outbound_message",
      conversation: channelRef(WORKSPACE, "irc", ["net", text]),
      payload: { text },
      idempotencyKey: text,
      actor: "test",
    });
    await until(async () => (await intentById(world.core.database.pool, intent.id))?.attempt === 1, {
      what: "the publish",
    });
    // Out of the pump's hands: a new holder must not get it as attempt 2 while it is asked about.
    await world.core.database.transaction((client) => dequeue(client, [intent.id]));
    return intent.id;
  }

  function sign(envelope: Envelope) {
    return {
      ...encode(envelope, signer),
      route: routeOf(envelope, 8),
      messageId: envelope.metadata.message_id,
    };
  }

  async function ask(
    intentId: string,
    part: number,
    nonce: string = randomUUID(),
    attempt = 1,
  ): Promise<AttemptReply> {
    const messageId = noteId(ISSUER, "attempt", nonce);
    const traceId = traceIdOf(messageId);
    const request: Envelope = {
      schema: "msgr.bridge.v1",
      service: "core",
      action: "attempt",
      trace_id: traceId,
      occurred_at: timestamp(new Date()),
      metadata: {
        issuer: ISSUER,
        workspace_id: WORKSPACE,
        instance: "primary",
        message_id: messageId,
        epoch,
        reply_to: `bridge/core/attempt/reply/${traceId}`,
      },
      payload: { intent_id: intentId, attempt, part, parts: 3 },
    };
    const answer = await bus.request(sign(request), { timeoutMs: 10_000 });
    const keys = new KeyRing(world.core.keys.records());
    return decode(answer, { keys, now: new Date() }).envelope.payload as AttemptReply;
  }

  async function report(intentId: string, part: number, status: string, remoteId?: string): Promise<void> {
    const messageId = answerId("delivery_status", intentId, `${status} ${part}`, 1);
    await bus.publish(
      sign({
        schema: "msgr.bridge.v1",
        service: "irc",
        action: "delivery_status",
        trace_id: traceIdOf(messageId),
        occurred_at: timestamp(new Date()),
        metadata: {
          issuer: ISSUER,
          workspace_id: WORKSPACE,
          instance: "primary",
          message_id: messageId,
          epoch,
          identity_id: "alice",
          in_reply_to: intentId,
        },
        payload: {
          intent_id: intentId,
          attempt: 1,
          part,
          parts: 3,
          status,
          at: timestamp(new Date()),
          ...(remoteId !== undefined && { remote_id: remoteId }),
        },
      }),
    );
  }

  test("a part is granted to one question; the same question again is granted again", async () => {
    const id = await published("once");
    expect((await ask(id, 0, "first")).decision).toBe("go");
    expect((await ask(id, 0, "first")).decision).toBe("go");
    expect((await ask(id, 0, "second")).decision).toBe("uncertain");
    await report(id, 0, "sent", "r0");
    expect(await ask(id, 0, "third")).toEqual({ decision: "sent", remote_id: "r0" });
  });

  test("a report that comes after the next part was asked for still counts", async () => {
    const id = await published("overtaken");
    await ask(id, 0);
    expect((await ask(id, 1)).decision).toBe("go");
    await report(id, 0, "sent", "r0");
    await takeLease();
    expect(await ask(id, 0)).toEqual({ decision: "sent", remote_id: "r0" });
    expect((await ask(id, 1)).decision).toBe("uncertain");
  });

  test("an earlier part without a report is in doubt, never granted again", async () => {
    const id = await published("unreported");
    await ask(id, 0);
    await ask(id, 1);
    await takeLease();
    expect((await ask(id, 0)).decision).toBe("uncertain");
  });

  test("another attempt's question is told to stop, and so is one about what is settled", async () => {
    const id = await published("settled");
    expect((await ask(id, 0, "late", 2)).decision).toBe("stop");
    await ask(id, 2);
    await report(id, 2, "sent", "r2");
    expect((await intentById(world.core.database.pool, id))?.state).toBe("sent");
    await takeLease();
    expect((await ask(id, 2)).decision).not.toBe("go");
  });

  test("an older holder is granted nothing", async () => {
    const id = await published("older");
    const before = epoch;
    await takeLease();
    const now = epoch;
    epoch = before;
    expect(await ask(id, 0)).toMatchObject({ error: { code: "lease.lost" } });
    epoch = now;
  });
});

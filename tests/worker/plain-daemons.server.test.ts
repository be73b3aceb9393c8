// Daemons that announce that they know less than ours: nothing is published to them twice, nothing waits for them for
// ever, and what they serve under Msgr's names they get so.
import { randomUUID } from "node:crypto";
import { channelRef, encode, type Envelope, FabricError, routeOf } from "@linkspan/envelopes";
import { ACK, type Bus, type Delivery } from "@linkspan/fabric";
import {
  claimLease,
  declarationsOf,
  insertIdentity,
  type Intent,
  intentById,
  saveDeclaration,
  updateIdentity,
} from "@linkspan/store";
import { recordIntent, switchConnector } from "@linkspan/worker";
import { afterAll, beforeAll, beforeEach, expect, onTestFinished, test } from "vitest";
import { describeWithServers } from "../servers/available.ts";
import { type PostgresServer, startPostgres } from "../servers/postgres.ts";
import { until } from "../servers/until.ts";
import { SignedDaemon } from "./signed-daemon.ts";
import { openWorld, WORKSPACE, type World } from "./world.ts";

const OUTBOUND = ["outbound_message", "outbound_edit", "outbound_edit_message"];

describeWithServers(["postgres"], "a daemon that knows less", () => {
  let server: PostgresServer;
  let world: World;
  let bus: Bus;
  let daemon: SignedDaemon;
  let account = "";
  let take: (delivery: Delivery) => Promise<void>;
  const taken: Envelope[] = [];

  beforeAll(async () => {
    server = await startPostgres();
    world = await openWorld({ databaseUrl: await server.createDatabase("plain"), daemons: false });
    bus = world.broker.connect("telegram");
    const queue = {
      name: "telegram.all",
      kind: "shared" as const,
      bindings: OUTBOUND.map((action) => ({ service: "telegram", action })),
    };
    await bus.declare([queue]);
    daemon = await new SignedDaemon(world.core, bus, "telegram", "primary", 5).enrol();
    await daemon.hold();
    await bus.subscribe(
      queue,
      {
        handle: async (batch: readonly { delivery: Delivery }[]) => {
          for (const { delivery } of batch) {
            taken.push(JSON.parse(Buffer.from(delivery.body).toString()) as Envelope);
            await take(delivery);
          }
          return batch.map(() => ACK);
        },
        keyOf: ({ delivery }) => delivery.messageId ?? "",
      },
      { maxBatch: 1 },
    );
  });
  afterAll(async () => {
    await bus?.[Symbol.asyncDispose]();
    await world?.[Symbol.asyncDispose]();
    await server?.[Symbol.asyncDispose]();
  });
  beforeEach(async () => {
    account = `ada-${randomUUID()}`;
    await daemon.serve(account);
    taken.length = 0;
    take = () => Promise.resolve();
  });

  /** Resolves when the core goes by it. */
  async function announce(note: object): Promise<void> {
    await daemon.say(daemon.note("capabilities", { capabilities: {}, ...note }));
    // What was announced before is remembered for a second.
    const heardAt = performance.now();
    await until(() => performance.now() - heardAt > 1_100, { what: "the core to ask again" });
  }

  const chat = (name = "channel:5") => channelRef(WORKSPACE, "telegram", [name]);
  async function record(
    payload: Record<string, unknown> = { text: "hello" },
    action = "outbound_message",
  ): Promise<string> {
    const { intent } = await recordIntent(world.core, {
      workspaceId: WORKSPACE,
      identityId: account,
      action,
      conversation: chat(),
      payload,
      idempotencyKey: randomUUID(),
      actor: "test",
    });
    return intent.id;
  }
  const read = async (id: string) => (await intentById(world.core.database.pool, id)) as Intent;
  /** As if nobody had spoken of it for a minute. */
  async function overdue(id: string): Promise<void> {
    const { database } = world.core;
    await database.query("UPDATE intents SET updated_at = now() - interval '1 minute' WHERE id = $1", [id]);
    await database.query("UPDATE lanes SET due_at = now() WHERE intent_id = $1", [id]);
  }
  const given = (id: string) => taken.filter(({ metadata }) => metadata.message_id === id);

  /** The daemon answers an intent: it sent it as message 9. */
  async function answerSent({ messageId = "", replyTo = "", correlationId }: Delivery): Promise<void> {
    const envelope = daemon.answer("outbound_message", messageId, { status: "ok", message_id: 9 });
    await bus.reply(replyTo, {
      ...encode(envelope, daemon.signer),
      route: routeOf(envelope, 8),
      messageId: envelope.metadata.message_id,
      correlationId,
    });
  }

  test("is remembered with the epoch under which it announced what it knows", async () => {
    await daemon.say(daemon.note("capabilities", { capabilities: {}, knows: ["signed_batches"] }));
    const announced = async () => declarationsOf(world.core.database.pool, [daemon]);
    await until(async () => (await announced())[0]?.declaration["knows"] !== undefined, { what: "its note" });
    expect(daemon.epoch).toBeGreaterThan(0);
    expect(await announced()).toMatchObject([{ epoch: daemon.epoch }]);
  });

  test("that neither asks nor reports is given each intent once, and nobody claims to know more", async () => {
    await announce({ knows: [] });
    const ids = [await record(), await record(), await record()];
    for (const id of ids) expect(await world.settled(id)).toBe("uncertain");
    expect(taken.map(({ metadata }) => metadata.message_id)).toEqual(ids);
    expect(await read(ids[0] as string)).toMatchObject({ code: "send.uncertain", attempt: 1 });
  });

  test("is not given again what it may have said, when the core ended before the broker confirmed", async () => {
    await announce({ knows: [] });
    const { promise, resolve } = Promise.withResolvers<void>();
    take = () => promise;
    const id = await record();
    await until(() => given(id).length === 1, { what: "the daemon to have it" });
    expect((await read(id)).state).toBe("attempting");
    await overdue(id);
    expect(await world.settled(id)).toBe("uncertain");
    resolve();
    await world.settled(await record());
    expect(given(id)).toHaveLength(1);
  });

  test("that does not ask but reports is believed; what it is silent about is uncertain and not given again", async () => {
    await announce({ knows: ["delivery_status"] });
    const id = await record();
    await until(() => given(id).length === 1, { what: "the daemon to have it" });
    const status = { intent_id: id, attempt: 1, part: 0, parts: 1, status: "sent", remote_id: "channel:5/9" };
    const at = { identity_id: account };
    await daemon.say(daemon.answer("delivery_status", id, { ...status, at: new Date().toISOString() }, at));
    expect(await world.settled(id)).toBe("sent");
    expect((await read(id)).remote_ids).toEqual(["channel:5/9"]);

    const silent = await record();
    await until(() => given(silent).length === 1, { what: "the daemon to have it" });
    await overdue(silent);
    expect(await world.settled(silent)).toBe("uncertain");
    expect(given(silent)).toHaveLength(1);
  });

  test("that asks and does not report is asked no second time once it was let", async () => {
    await announce({ knows: ["attempt"] });
    const id = await record();
    await until(() => given(id).length === 1, { what: "the daemon to have it" });
    await overdue(id);
    await until(() => given(id).length === 2, { what: "the daemon to have it again: it did not ask" });
    const ask = { intent_id: id, attempt: 2, part: 0, parts: 1 };
    expect(await daemon.ask("core", "attempt", ask)).toMatchObject({ decision: "go" });
    await overdue(id);
    expect(await world.settled(id)).toBe("uncertain");
    expect(given(id)).toHaveLength(2);
  });

  test("that answers is believed: sent with the platform's id, or failed; a stranger's answer says nothing", async () => {
    await announce({ knows: ["reply"] });
    const stranger = await new SignedDaemon(world.core, bus, "telegram", "second", 6).enrol();
    const answer = (from: SignedDaemon, payload: object) => async (delivery: Delivery) => {
      const { messageId = "", replyTo = "", correlationId } = delivery;
      const envelope = from.answer("outbound_message", messageId, payload);
      await bus.reply(replyTo, {
        ...encode(envelope, from.signer),
        route: routeOf(envelope, 8),
        messageId: envelope.metadata.message_id,
        correlationId,
      });
    };
    take = answer(daemon, { status: "ok", message_id: 9, chat: "of the platform" });
    const sent = await record();
    expect(await world.settled(sent)).toBe("sent");
    expect(await read(sent)).toMatchObject({ remote_ids: ["9"], part: 1, parts: 1, attempt: 1 });
    expect(given(sent)[0]?.metadata.reply_to).toMatch(/^bridge\/telegram\/outbound_message\/reply\//);

    take = answer(daemon, { error: { code: "platform.forbidden", detail: "not in this channel" } });
    const failed = await record();
    expect(await world.settled(failed)).toBe("failed");
    expect(await read(failed)).toMatchObject({ code: "platform.forbidden" });

    take = answer(stranger, { status: "ok" });
    const odd = await record();
    expect(await world.settled(odd)).toBe("uncertain");
  });

  test("whose answer came while the database was away is believed all the same", async () => {
    await announce({ knows: ["reply"] });
    const { database } = world.core;
    const transaction = database.transaction.bind(database);
    const isAway = { now: false };
    database.transaction = (work) =>
      isAway.now
        ? Promise.reject(new FabricError("store.unavailable", "the database is away"))
        : transaction(work);
    onTestFinished(() => {
      database.transaction = transaction;
    });
    const refused = () => world.lines.filter((line) => line.includes("intent.unstored")).length;
    take = async (delivery) => {
      isAway.now = true;
      await answerSent(delivery);
    };
    const id = await record();
    await until(() => refused() > 0, { what: "the answer to be refused by the database" });
    isAway.now = false;
    expect(await world.settled(id)).toBe("sent");
    expect(await read(id)).toMatchObject({ remote_ids: ["9"], attempt: 1 });
  });

  test("is not said to have what never left the core", async () => {
    await announce({ knows: ["reply"] });
    const { bus: coreBus } = world.core;
    const request = coreBus.request.bind(coreBus);
    let unsent = 0;
    // As the bus answers when the broker could not be reached in time.
    coreBus.request = (message, options) => {
      if (message.route.service !== "telegram" || unsent > 0) return request(message, options);
      unsent += 1;
      return Promise.reject(new FabricError("bus.timeout", "no answer in time"));
    };
    onTestFinished(() => {
      coreBus.request = request;
    });
    take = answerSent;
    const id = await record();
    expect(await world.settled(id)).toBe("sent");
    expect([unsent, given(id).length]).toEqual([1, 1]);
  });

  test("is granted again what the core may have granted and never published", async () => {
    await announce({ knows: [] });
    const { database } = world.core;
    const transaction = database.transaction.bind(database);
    let lost: string | undefined;
    // The grant is committed, and its answer is lost.
    database.transaction = async (work) => {
      const result = await transaction(work);
      if (lost === undefined && result === true) {
        const { rows } = await database.query<{ id: string }>(
          "SELECT id FROM intents WHERE state = 'attempting' AND identity_id = $1",
          [account],
        );
        lost = rows[0]?.id;
        if (lost !== undefined) throw new FabricError("store.unavailable", "the answer did not come");
      }
      return result;
    };
    onTestFinished(() => {
      database.transaction = transaction;
    });
    const id = await record();
    await until(() => given(id).length > 0, { what: "the daemon to have it", timeoutMs: 15_000 });
    expect(lost).toBe(id);
    expect(given(id)).toHaveLength(1);
  });

  test("that signs nothing is given each intent once, too, and believed where it answers", async () => {
    const databaseUrl = await server.createDatabase("unsigned");
    await using open = await openWorld({ databaseUrl, signatures: "optional", daemons: false });
    await using client = open.broker.connect("matrix");
    const { pool } = open.core.database;
    const queue = { name: "matrix.all", kind: "shared" as const, bindings: [{ service: "matrix" }] };
    await client.declare([queue]);
    await claimLease(pool, {
      service: "matrix",
      instance: "primary",
      holder: "it",
      kid: "A".repeat(43),
      ttlMs: 600_000,
    });
    const identity = { id: "ada", workspace_id: WORKSPACE, user_id: "u", settings: {} };
    await insertIdentity(pool, { ...identity, service: "matrix", instance: "primary" });
    await updateIdentity(pool, "ada", { state: "linked", bridge_state: "connected" });
    const seen: Delivery[] = [];
    const answers: object[] = [];
    await client.subscribe(queue, {
      handle: async (batch: readonly { delivery: Delivery }[]) => {
        for (const { delivery } of batch) {
          seen.push({ ...delivery });
          const { route, correlationId, replyTo, messageId = "" } = delivery;
          const answer = answers.shift();
          if (answer === undefined || replyTo === undefined) continue;
          // As a library for AMQP answers: to the address, with the correlation id.
          const body = Buffer.from(
            JSON.stringify({ service: "matrix", action: route.action, payload: answer }, null, 1),
          );
          await client.reply(replyTo, { route, body, messageId: `re-${messageId}`, correlationId });
        }
        return batch.map(() => ACK);
      },
    });
    const say = async () => {
      const { intent } = await recordIntent(open.core, {
        workspaceId: WORKSPACE,
        identityId: "ada",
        action: "outbound_message",
        conversation: channelRef(WORKSPACE, "matrix", ["!r:ex.org"]),
        payload: { text: "hello" },
        idempotencyKey: randomUUID(),
        actor: "test",
      });
      const state = await open.settled(intent.id);
      return [state, (await intentById(pool, intent.id))?.remote_ids];
    };
    expect(await say()).toEqual(["uncertain", []]);
    expect(seen).toHaveLength(1);

    const declaration = { capabilities: {}, knows: ["reply"], actions: [{ name: "outbound_event" }] };
    await saveDeclaration(pool, { service: "matrix", instance: "primary" }, declaration);
    const savedAt = performance.now();
    await until(() => performance.now() - savedAt > 1_100, { what: "the core to ask again" });
    answers.push({ status: "sent", event_id: "$e1", power: 1.5 });
    expect(await say()).toEqual(["sent", ["$e1"]]);
    expect(seen.map(({ route }) => route.action)).toEqual(["outbound_message", "outbound_event"]);
  });

  test("is given nothing once the connector is switched off, though it does not ask", async () => {
    await announce({ knows: [] });
    const { promise, resolve } = Promise.withResolvers<void>();
    take = () => promise;
    const [first, second] = [await record(), await record()];
    await until(() => given(first).length === 1, { what: "the daemon to have the first" });
    const change = { workspace_id: WORKSPACE, service: "telegram", who: "test", why: "test" };
    await switchConnector(world.core, { ...change, enabled: false });
    resolve();
    expect(await world.settled(second)).toBe("denied");
    await switchConnector(world.core, { ...change, enabled: true });
    expect(await read(second)).toMatchObject({ code: "flag.disabled" });
    expect(given(second)).toEqual([]);
  });

  test("gets what it serves under Msgr's name so, and what nobody serves fails at the first attempt", async () => {
    await announce({
      knows: [],
      actions: [{ name: "outbound_message", form: "msgr" }, { name: "outbound_edit_message" }],
    });
    await world.settled(await record({ text: "bold", entities: [{ type: "bold", offset: 0, length: 4 }] }));
    await world.settled(await record({ chat_id: "channel:5", message: "as Msgr writes it" }));
    await world.settled(await record({ target: "channel:5/9", text: "better" }, "outbound_edit"));
    expect(taken.map(({ action, payload }) => [action, payload])).toEqual([
      [
        "outbound_message",
        {
          chat_id: "channel:5",
          message: "bold",
          entities: [{ type: "MessageEntityBold", offset: 0, length: 4 }],
        },
      ],
      ["outbound_message", { chat_id: "channel:5", message: "as Msgr writes it" }],
      ["outbound_edit_message", { chat_id: "channel:5", message_id: 9, message: "better" }],
    ]);
    const id = await record({ target: "channel:5/9", key: "+1" }, "outbound_reaction");
    expect(await world.settled(id)).toBe("failed");
    expect(await read(id)).toMatchObject({ code: "action.unsupported", attempt: 1 });
  });
});

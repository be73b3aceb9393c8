/** A daemon that others wrote, with Msgr's Python SDK: unsigned, its own spelling of times and ids. */
import { eventId, timestamp } from "@linkspan/envelopes";
import { claimLease, currentLease, readEvents } from "@linkspan/store";
import { openSession, readSession, recordIntent, submitCredentials } from "@linkspan/worker";
import { afterAll, beforeAll, expect, test } from "vitest";
import { describeWithServers } from "../servers/available.ts";
import { type PostgresServer, startPostgres } from "../servers/postgres.ts";
import { until } from "../servers/until.ts";
import { ForeignDaemon } from "./foreign-daemon.ts";
import { SignedDaemon } from "./signed-daemon.ts";
import { openWorld } from "./world.ts";

const UPDATE = { update_id: 5, chat_id: 7, message: "hello", sender: { user_id: 7 }, message_id: 1 };

/** As that SDK serialises it: members in its own order, blanks after separators, offsets for `Z`. */
const envelope = (id: string, body: string) =>
  Buffer.from(
    `{"schema": "msgr.bridge.v1", "service": "irc", "action": "inbound_message", ` +
      `"trace_id": "0af7651916cd43dd8448eb211c80319c", "occurred_at": "2026-11-20T11:34:58.123456+00:00", ` +
      `"metadata": {"workspace_id": "acme"}, "payload": {"remote_id": "${id}", "sender_identity": "bob", ` +
      `"timestamp": "2026-11-20T11:34:58+00:00", "body": "${body}", "network": "libera", "channel": "#a", "user_id": "u"}}`,
  );
const route = { service: "irc", instance: "primary", action: "inbound_message", partition: 0 };

describeWithServers(["postgres"], "a foreign daemon", () => {
  let server: PostgresServer;
  beforeAll(async () => {
    server = await startPostgres();
  });
  afterAll(async () => {
    await server?.[Symbol.asyncDispose]();
  });

  test("is heard on a development namespace, once per event, its bytes kept and marked unsigned", async () => {
    const databaseUrl = await server.createDatabase("development");
    await using world = await openWorld({ databaseUrl, signatures: "optional", daemons: false });
    await using bus = world.broker.connect("foreign");
    for (const id of ["1", "2", "1"])
      await bus.publish({ body: envelope(id, `text ${id}`), route, messageId: id });
    const read = () => readEvents(world.core.database.pool, { workspaceId: "acme", after: 0, limit: 10 });
    await until(async () => (await read()).length === 2, { what: "two events" });
    const [first] = await read();
    expect(first?.kid).toBeUndefined();
    expect(first?.conversation).toBe("msgr://channels/acme/bridge/irc/libera/%23a");
    expect(first?.body.equals(envelope("1", "text 1"))).toBe(true);
  });

  test("content without a canonical form, or that stands for an event out of bounds, is refused alone", async () => {
    const databaseUrl = await server.createDatabase("odd");
    await using world = await openWorld({ databaseUrl, signatures: "optional", daemons: false });
    await using bus = world.broker.connect("foreign");
    const odd = [
      envelope("1", String.raw`half a character: \ud800`),
      envelope("2", "x")
        .toString()
        .replace('"#a"', `"#${"\u00fc".repeat(200)}"`),
      envelope("3", "x")
        .toString()
        .replace('"bob"', `"${"\u00fc".repeat(250)}"`),
      envelope("4", "x")
        .toString()
        .replace('"user_id": "u"', `"user_id": "${"u".repeat(600)}"`),
    ].map((body) => Buffer.from(body));
    const all = [...odd, envelope("5", "good")];
    await Promise.all(all.map((body, index) => bus.publish({ body, route, messageId: `${index}` })));
    const { rows } = await world.core.database.query<{ code: string }>("SELECT code FROM quarantine");
    expect(rows.map((row) => row.code.split(".")[0])).toEqual(odd.map(() => "envelope"));
    expect((await world.core.database.query("SELECT 1 FROM events")).rows).toHaveLength(1);
  });

  test("is refused elsewhere", async () => {
    await using world = await openWorld({
      databaseUrl: await server.createDatabase("strict"),
      daemons: false,
    });
    await using bus = world.broker.connect("foreign");
    await bus.publish({ body: envelope("1", "text"), route, messageId: "1" });
    const { rows } = await world.core.database.query("SELECT code FROM quarantine");
    expect(rows).toEqual([{ code: "envelope.unsigned" }]);
    expect((await world.core.database.query("SELECT 1 FROM events")).rows).toEqual([]);
  });

  test("is in the workspace of the setting when it names none", async () => {
    await using world = await openWorld({
      databaseUrl: await server.createDatabase("workspace"),
      signatures: "optional",
      foreignWorkspace: "lab",
      daemons: false,
    });
    await using bus = world.broker.connect("foreign");
    const daemon = new ForeignDaemon(bus, "telegram");
    await daemon.say("inbound_update", { ...UPDATE, user_id: "u1" });
    await daemon.say("inbound_update", { ...UPDATE, user_id: "u1" }, { workspace_id: "acme" });
    const { rows } = await world.core.database.query(
      "SELECT workspace_id, conversation FROM events ORDER BY id",
    );
    expect(rows).toEqual([
      { workspace_id: "lab", conversation: "msgr://channels/lab/bridge/telegram/~u1/user%3A7" },
      { workspace_id: "acme", conversation: "msgr://channels/acme/bridge/telegram/~u1/user%3A7" },
    ]);
  });

  test("without keys it is linked, its events are the linked account's, and it is given intents", async () => {
    await using world = await openWorld({
      databaseUrl: await server.createDatabase("linked"),
      signatures: "optional",
      foreignWorkspace: "acme",
      daemons: false,
    });
    const { core } = world;
    await using bus = world.broker.connect("foreign");
    const daemon = await new ForeignDaemon(bus, "telegram").listen();
    daemon.answers.set("link_account", () => ({ status: "linked", user: { id: 7, username: "ada" } }));
    await daemon.say("capabilities", {
      capabilities: {},
      link: { name: "Telegram", description: "", fields: [] },
    });
    await until(async () => (await currentLease(core.database.pool, "telegram", "primary"))?.live, {
      what: "its instance to be held",
    });
    const actor = "test";
    const session = await openSession(core, {
      workspaceId: "acme",
      userId: "u1",
      service: "telegram",
      actor,
    });
    await submitCredentials(core, { workspaceId: "acme", sessionId: session.id, fields: {}, actor });
    await until(async () => (await readSession(core, "acme", session.id)).state === "linked", {
      what: "the account to be linked",
    });
    const id = session.identity_id;

    // The user is named, the account is meant; ids and conversation follow, however often it is said.
    for (let times = 0; times < 2; times++) await daemon.say("inbound_update", { ...UPDATE, user_id: "u1" });
    const rows = async () =>
      (
        await core.database.query<{ account: string; conversation: string; message_id: Buffer }>(
          "SELECT account, conversation, message_id FROM events ORDER BY id",
        )
      ).rows;
    const conversation = `msgr://channels/acme/bridge/telegram/~${id}/user%3A7`;
    const messageId = eventId({
      workspace: "acme",
      service: "telegram",
      home: "primary",
      account: id,
      kind: "message",
      remoteId: "1",
      revision: "0",
    });
    expect(
      (await rows()).map((row) => ({ ...row, message_id: row.message_id.toString("base64url") })),
    ).toEqual([{ account: id, conversation, message_id: messageId }]);
    const acks = await daemon.got("ack_update", 2);
    expect(acks.map((ack) => [ack.account, ack.update_id])).toEqual([
      [id, 5],
      [id, 5],
    ]);

    const { intent } = await recordIntent(core, {
      workspaceId: "acme",
      identityId: id,
      action: "outbound_message",
      conversation,
      payload: { chat_id: 7, message: "hello" },
      idempotencyKey: "k",
      actor,
    });
    const [said] = await daemon.got("outbound_message");
    expect(said).toEqual({ chat_id: 7, message: "hello" });
    await daemon.say(
      "delivery_status",
      {
        intent_id: intent.id,
        attempt: 1,
        part: 0,
        parts: 1,
        status: "sent",
        remote_id: "9",
        at: timestamp(new Date()),
      },
      { identity_id: id },
    );
    expect(await world.settled(intent.id)).toBe("sent");

    // A daemon with a key takes the instance over at once.
    const claim = { service: "telegram", instance: "primary", holder: "boot", kid: "B".repeat(42) + "A" };
    expect(await claimLease(core.database.pool, { ...claim, ttlMs: 60_000 })).toMatchObject({
      state: "held",
      epoch: 2,
    });
    await daemon.say("inbound_update", { ...UPDATE, user_id: "u1", update_id: 6, message_id: 2 });
    expect((await currentLease(core.database.pool, "telegram", "primary"))?.holder).toBe("boot");
  });

  test("what contradicts itself, or an account that it does not serve, is refused", async () => {
    await using world = await openWorld({
      databaseUrl: await server.createDatabase("contradictions"),
      signatures: "optional",
      foreignWorkspace: "acme",
      daemons: false,
    });
    await using bus = world.broker.connect("foreign");
    const signed = new SignedDaemon(world.core, bus, "telegram", "primary", 70);
    await signed.serve("of-u");
    await new SignedDaemon(world.core, bus, "telegram", "second", 71).serve("elsewhere");
    const daemon = new ForeignDaemon(bus, "telegram");
    const code = async (payload: object, metadata: object) => {
      await world.core.database.query("TRUNCATE quarantine");
      await daemon.say("inbound_update", { ...UPDATE, ...payload }, metadata);
      const { rows } = await world.core.database.query<{ code: string }>("SELECT code FROM quarantine");
      return rows[0]?.code;
    };
    const wrong = "envelope.wrong_issuer";
    expect(await code({ user_id: "u" }, { user_id: "other" })).toBe("envelope.schema");
    expect(await code({ user_id: "other" }, { identity_id: "of-u" })).toBe(wrong);
    expect(await code({}, { identity_id: "elsewhere" })).toBe(wrong);
    expect(await code({}, { identity_id: "of-u", workspace_id: "rival" })).toBe(wrong);
    const of = (account: string) => `msgr://channels/acme/bridge/telegram/~${account}/user%3A7`;
    expect(await code({}, { identity_id: "of-u", conversation: of("elsewhere") })).toBe(wrong);
    expect(await code({ user_id: "nobody" }, { conversation: of("of-u") })).toBe(wrong);
    expect(await code({ user_id: "u" }, { identity_id: "of-u", conversation: of("of-u") })).toBeUndefined();
    expect(await code({ message_id: 2 }, { user_id: "nobody" })).toBeUndefined();
  });
});

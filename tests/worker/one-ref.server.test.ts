/** One conversation has one ref, one lane and one policy, however a backend spells it. */
import { randomUUID } from "node:crypto";
import { channelRef } from "@linkspan/envelopes";
import { Database, intentById, migrate, saveDeclaration } from "@linkspan/store";
import { recordIntent } from "@linkspan/worker";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { describeWithServers } from "../servers/available.ts";
import { type PostgresServer, startPostgres } from "../servers/postgres.ts";
import { OutboxModel } from "./outbox-model.ts";

const WORKSPACE = "acme";
const INSTANCE = { service: "irc", instance: "primary" };

describeWithServers(["postgres"], "the ref of a conversation", () => {
  let server: PostgresServer;
  let database: Database;
  let model: OutboxModel;

  beforeAll(async () => {
    server = await startPostgres();
    database = new Database(await server.createDatabase("refs"));
    await migrate(database);
  });
  afterAll(async () => {
    await database?.[Symbol.asyncDispose]();
    await server?.[Symbol.asyncDispose]();
  });
  beforeEach(async () => {
    model = new OutboxModel(database);
    await model.start(["Alice"]);
    await database.query("DELETE FROM connector_flags");
    await declare({ caselessFrom: 1 });
  });

  const declare = (capabilities: Record<string, unknown>) =>
    saveDeclaration(database.pool, INSTANCE, { capabilities });
  const say = async (remote: readonly string[], idempotencyKey: string = randomUUID()) => {
    const { intent, fresh } = await recordIntent(model.core, {
      workspaceId: WORKSPACE,
      userId: "u",
      identityId: "Alice",
      action: "outbound_message",
      conversation: channelRef(WORKSPACE, "irc", remote),
      payload: { text: "hello" },
      idempotencyKey,
      actor: "test",
    });
    return { id: intent.id, fresh, conversation: intent.conversation };
  };
  const lanes = async () =>
    (await database.query<{ lane: string }>("SELECT lane FROM lanes ORDER BY lane")).rows.map(
      ({ lane }) => lane,
    );

  test("spellings that the connector declared to be one are one ref and one lane", async () => {
    const ref = channelRef(WORKSPACE, "irc", ["Net", "#tour"]);
    for (const name of ["#tour", "#TOUR", "#Tour"]) {
      expect(await say(["Net", name])).toMatchObject({ conversation: ref });
    }
    expect(await lanes()).toEqual([ref]);
  });

  test("the network's name and the account's are not touched, nor letters beyond A to Z", async () => {
    const said = await say(["Net", "~Alice", "BOB"]);
    expect(said.conversation).toBe(channelRef(WORKSPACE, "irc", ["Net", "~Alice", "bob"]));
    const other = await say(["Net", "#ÄB[C]"]);
    expect(other.conversation).toBe(channelRef(WORKSPACE, "irc", ["Net", "#Äb[c]"]));
  });

  test("where nothing readable is declared, every spelling is its own", async () => {
    for (const capabilities of [{}, { caselessFrom: "1" }, { caselessFrom: -1 }, { caselessFrom: 0.5 }]) {
      await declare(capabilities);
      const { conversation } = await say(["Net", "#TOUR"]);
      expect(conversation).toBe(channelRef(WORKSPACE, "irc", ["Net", "#TOUR"]));
    }
  });

  test("a request that is made again is the same intent, in any spelling, and if it was recorded before the rule", async () => {
    const first = await say(["Net", "#TOUR"], "one");
    expect(await say(["Net", "#TOUR"], "one")).toMatchObject({ id: first.id, fresh: false });
    expect(await say(["Net", "#tour"], "one")).toMatchObject({ id: first.id, fresh: false });
    await declare({});
    const early = await say(["Net", "#EARLY"], "two");
    await declare({ caselessFrom: 1 });
    expect(await say(["Net", "#EARLY"], "two")).toMatchObject({ id: early.id, fresh: false });
    await expect(say(["Net", "#other"], "two")).rejects.toMatchObject({ code: "intent.conflict" });
    expect((await intentById(database.pool, first.id))?.conversation).toBe(first.conversation);
  });
});

/** One message through the whole house and back, on a real database. */
import { randomUUID } from "node:crypto";
import { channelRef } from "@linkspan/envelopes";
import { readEvents } from "@linkspan/store";
import { recordIntent } from "@linkspan/worker";
import { afterAll, beforeAll, expect, test } from "vitest";
import { describeWithServers } from "../servers/available.ts";
import { type PostgresServer, startPostgres } from "../servers/postgres.ts";
import { until } from "../servers/until.ts";
import { openWorld, type World, WORKSPACE } from "./world.ts";

describeWithServers(["postgres"], "the spine, with an echo daemon", () => {
  let server: PostgresServer;
  let world: World;

  beforeAll(async () => {
    server = await startPostgres();
    world = await openWorld({ databaseUrl: await server.createDatabase("spine") });
  });
  afterAll(async () => {
    if (process.env.SHOW_LOG) process.stderr.write(world.lines.join(""));
    await world?.[Symbol.asyncDispose]();
    await server?.[Symbol.asyncDispose]();
  });

  test("what is said is sent once, and what comes back is read once", async () => {
    const identity = await world.link();
    const conversation = channelRef(WORKSPACE, "echo", ["room"]);
    const { intent } = await recordIntent(world.core, {
      workspaceId: WORKSPACE,
      userId: identity.user_id,
      identityId: identity.id,
      action: "outbound_message",
      conversation,
      payload: { text: "hello" },
      idempotencyKey: randomUUID(),
      actor: "test",
    });
    expect(await world.settled(intent.id)).toBe("sent");
    const read = () => readEvents(world.core.database.pool, { workspaceId: WORKSPACE, after: 0, limit: 10 });
    await until(async () => (await read()).some((event) => event.conversation === conversation), {
      what: "the echo",
    });
    const events = (await read()).map(
      (event) => JSON.parse(event.body.toString()) as { payload: { text?: string } },
    );
    expect(events.map(({ payload }) => payload.text)).toEqual(["hello"]);
  });
});

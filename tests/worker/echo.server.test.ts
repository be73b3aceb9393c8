/** One message through the whole installation and back, on a real database. */
import { randomUUID } from "node:crypto";
import { channelRef, type Envelope } from "@linkspan/envelopes";
import { ACK, type QueueSpec } from "@linkspan/fabric";
import { readEvents } from "@linkspan/store";
import { recordIntent } from "@linkspan/worker";
import { afterAll, beforeAll, expect, test } from "vitest";
import { describeWithServers } from "../servers/available.ts";
import { type PostgresServer, startPostgres } from "../servers/postgres.ts";
import { until } from "../servers/until.ts";
import { openWorld, type World, WORKSPACE } from "./world.ts";

const LIVE: QueueSpec = {
  name: "subscriber.live",
  kind: "transient",
  bindings: [{ service: "core", instance: "primary", action: "fanout" }],
};

describeWithServers(["postgres"], "the core, with an echo daemon", () => {
  let server: PostgresServer;
  let world: World;

  beforeAll(async () => {
    server = await startPostgres();
    world = await openWorld({ databaseUrl: await server.createDatabase("echo"), fanOut: true });
  });
  afterAll(async () => {
    await world?.[Symbol.asyncDispose]();
    await server?.[Symbol.asyncDispose]();
  });

  test("what is said is sent once, and what comes back is read once, by cursor and on the bus", async () => {
    const identity = await world.link();
    await using subscriber = world.broker.connect("subscriber");
    const notes: Envelope[] = [];
    await using _listening = await subscriber.subscribe(LIVE, {
      handle: (batch) => {
        for (const { delivery } of batch)
          notes.push(JSON.parse(Buffer.from(delivery.body).toString()) as Envelope);
        return Promise.resolve(batch.map(() => ACK));
      },
    });
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
    await until(() => notes.length > 0, { what: "the note on the bus" });
    expect(notes.map(({ payload }) => payload.event)).toEqual([(await read())[0]?.position]);
  });
});

/** A replay reaches one subscriber; what it got, put back on its route, changes nothing. */
import { randomUUID } from "node:crypto";
import {
  canonical,
  channelRef,
  decode,
  type Fanout,
  FabricError,
  type Opened,
  routeOf,
} from "@linkspan/envelopes";
import { ACK, type QueueSpec } from "@linkspan/fabric";
import { listQuarantine, readEvents } from "@linkspan/store";
import { recordIntent, replayEvents } from "@linkspan/worker";
import { afterAll, beforeAll, expect, test } from "vitest";
import { describeWithServers } from "../servers/available.ts";
import { type PostgresServer, startPostgres } from "../servers/postgres.ts";
import { until } from "../servers/until.ts";
import { openWorld, type World, WORKSPACE } from "../worker/world.ts";

describeWithServers(["postgres"], "replay", () => {
  let server: PostgresServer;
  let world: World;

  beforeAll(async () => {
    server = await startPostgres();
    world = await openWorld({ databaseUrl: await server.createDatabase("replay") });
  });
  afterAll(async () => {
    await world?.[Symbol.asyncDispose]();
    await server?.[Symbol.asyncDispose]();
  });

  const stored = () =>
    readEvents(world.core.database.pool, { workspaceId: WORKSPACE, after: 0, limit: 100, all: true });

  async function say(texts: readonly string[]): Promise<void> {
    const identity = await world.link();
    for (const text of texts) {
      await recordIntent(world.core, {
        workspaceId: WORKSPACE,
        userId: identity.user_id,
        identityId: identity.id,
        action: "outbound_message",
        conversation: channelRef(WORKSPACE, "echo", ["room"]),
        payload: { text },
        idempotencyKey: randomUUID(),
        actor: "test",
      });
    }
    await until(async () => (await stored()).length === texts.length, { what: "the echoes" });
  }

  test("the bytes that a subscriber got are known when they come back", async () => {
    await say(["one", "two", "three"]);
    const before = await stored();
    const subscriber = "archive";
    const request = { workspaceId: WORKSPACE, subscriber, from: 1, actor: "test" };
    await expect(replayEvents(world.core, request)).rejects.toMatchObject({ code: "bus.unroutable" });

    const { core } = world;
    const notes: Opened[] = [];
    const queue: QueueSpec = {
      name: "archive.events",
      kind: "transient",
      bindings: [{ service: "core", instance: subscriber, action: "fanout" }],
    };
    const bus = world.broker.connect("archive");
    await using _subscription = await bus.subscribe(queue, {
      handle: async (batch) => {
        for (const { delivery } of batch) notes.push(decode(delivery, { keys: core.keys, now: new Date() }));
        return batch.map(() => ACK);
      },
    });
    const { count, marker } = await replayEvents(core, request);
    expect(count).toBe(3);
    const received = notes.map(({ envelope }) => envelope.payload as Fanout);
    expect(received.map((note) => [note.event, note.marker])).toEqual(
      before.map(({ position }) => [position, marker]),
    );

    for (const [index, note] of received.entries()) {
      const { body, kid, sig, messageId } = before[index] ?? {};
      if (body === undefined || messageId === undefined)
        throw new FabricError("internal", "an event is missing");
      const again = canonical(note.envelope);
      expect(Buffer.from(again)).toEqual(body);
      const route = routeOf(note.envelope as unknown as Opened["envelope"], core.namespace.partitions);
      // The embedded bus confirms a publish when its consumer has settled it.
      await bus.publish({
        route,
        body: again,
        messageId,
        ...(kid !== undefined && { kid }),
        ...(sig !== undefined && { sig }),
      });
    }
    expect(await stored()).toEqual(before);
    expect(await listQuarantine(core.database.pool, { limit: 10 })).toEqual([]);
    await bus[Symbol.asyncDispose]();
  });
});

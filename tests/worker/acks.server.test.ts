/** What daemons are told of what was taken in: the event's cursor and Msgr's own fields, also those without keys. */
import type { InboundEvent } from "@linkspan/envelopes";
import { channelRef, identityRef } from "@linkspan/envelopes";
import { afterAll, beforeAll, expect, test } from "vitest";
import { describeWithServers } from "../servers/available.ts";
import { type PostgresServer, startPostgres } from "../servers/postgres.ts";
import { ForeignDaemon } from "./foreign-daemon.ts";
import { SignedDaemon } from "./signed-daemon.ts";
import { openWorld, type World, WORKSPACE } from "./world.ts";

interface Case {
  readonly service: string;
  readonly action: string;
  readonly remote: readonly string[];
  readonly payload: Partial<InboundEvent>;
  /** Of the message, beside its id and status. */
  readonly fields: Record<string, unknown>;
  /** At top level only. */
  readonly top?: Record<string, unknown>;
}

const instant = expect.stringMatching(/^\d{4}-.*Z$/) as string;
const CASES: readonly Case[] = [
  {
    service: "telegram",
    action: "ack_update",
    remote: ["channel:1"],
    payload: { remote_id: "channel:1/7", cursor: { update_id: 41, pts: 9 } },
    fields: { cursor: { update_id: 41, pts: 9 }, update_id: 41, received_at: instant },
    top: { status: "persisted" },
  },
  {
    service: "matrix",
    action: "ack_sync",
    remote: ["!r:ex.org"],
    payload: { remote_id: "$e1", cursor: { next_batch: "s1" }, native: { stream_position: 12 } },
    fields: { cursor: { next_batch: "s1" }, next_batch: "s1", stream_position: 12, event_id: "$e1" },
  },
  {
    service: "irc",
    action: "ack_offset",
    remote: ["net", "#a"],
    payload: { remote_id: "boot-7", cursor: { offset: 7 } },
    fields: { cursor: { offset: 7 }, network: "net", channel: "#a", offset: 7, last_seen: 7 },
  },
  {
    service: "xmpp",
    action: "ack_receipt",
    remote: ["room@ex.org"],
    payload: { remote_id: "archive-1" },
    fields: { stanza_id: "archive-1" },
    top: { status: "persisted" },
  },
  {
    service: "echo",
    action: "ack_event",
    remote: ["room"],
    payload: { remote_id: "1", cursor: { at: 3 } },
    fields: { cursor: { at: 3 } },
  },
];

describeWithServers(["postgres"], "acks", () => {
  let server: PostgresServer;
  let world: World;
  beforeAll(async () => {
    server = await startPostgres();
    world = await openWorld({
      databaseUrl: await server.createDatabase("acks"),
      signatures: "optional",
      daemons: false,
    });
  });
  afterAll(async () => {
    await world?.[Symbol.asyncDispose]();
    await server?.[Symbol.asyncDispose]();
  });

  test.each(CASES)("$service gets $action with its cursor and its own fields", async (one) => {
    await using bus = world.broker.connect(one.service);
    const daemon = await new SignedDaemon(world.core, bus, one.service, "signed", 40).enrol();
    const account = `${one.service}-account`;
    await daemon.serve(account);
    const ears = await new ForeignDaemon(bus, one.service, "signed").listen();
    const event = daemon.event({
      account,
      conversation: channelRef(WORKSPACE, one.service, one.remote),
      payload: {
        ...one.payload,
        sender: { ref: identityRef(one.service, ["bob"]), name: "bob", is_self: false },
      },
      remoteId: String(one.payload.remote_id),
    });
    await daemon.say(event);
    const [ack] = await ears.got(one.action);
    const acked = [{ message_id: event.metadata.message_id, status: "persisted", ...one.fields }];
    expect(ack).toEqual({ account, acked, ...one.fields, ...one.top });
  });

  test("the newest message of a batch stands at top level, and one that was refused keeps its cursor", async () => {
    await using bus = world.broker.connect("batch");
    const daemon = await new SignedDaemon(world.core, bus, "telegram", "batch", 41).enrol();
    await daemon.serve("batched");
    const ears = await new ForeignDaemon(bus, "telegram", "batch").listen();
    const told = (id: number, over: object = {}) =>
      daemon.event({
        account: "batched",
        conversation: channelRef(WORKSPACE, "telegram", ["channel:1"]),
        remoteId: `channel:1/${id}`,
        payload: {
          cursor: { update_id: id },
          sender: { ref: identityRef("telegram", ["user:1"]), name: "b", is_self: false },
          ...over,
        },
      });
    const events = [told(1), { ...told(2), trace_id: told(1).trace_id }, told(3)];
    await Promise.all(events.map((event) => daemon.say(event)));
    const acks = await ears.got("ack_update");
    const acked = acks
      .flatMap((ack) => ack.acked as Record<string, unknown>[])
      .toSorted((a, b) => Number(a.update_id) - Number(b.update_id));
    expect(acked.map(({ update_id, status, code }) => [update_id, status, code])).toEqual([
      [1, "persisted", undefined],
      [2, "quarantined", "envelope.schema"],
      [3, "persisted", undefined],
    ]);
    for (const ack of acks) {
      const newest = (ack.acked as Record<string, unknown>[]).at(-1);
      expect(ack).toMatchObject({ update_id: newest?.update_id, status: newest?.status });
    }
  });

  test("an unsigned daemon is told what was persisted, and what was refused", async () => {
    await using bus = world.broker.connect("unsigned");
    const daemon = await new ForeignDaemon(bus, "telegram", "unsigned").listen();
    const update = { update_id: 5, chat_id: 7, message: "hello", sender: { user_id: 7 }, message_id: 1 };
    await daemon.say("inbound_update", { ...update, user_id: "u1" });
    const [ack] = await daemon.got("ack_update");
    expect(ack).toMatchObject({ account: "u1", update_id: 5, status: "persisted", received_at: instant });
    await daemon.say("inbound_update", { ...update, user_id: "u1", message: "something else" });
    const [, refused] = await daemon.got("ack_update", 2);
    expect(refused).toMatchObject({
      update_id: 5,
      status: "quarantined",
      acked: [{ code: "envelope.conflict" }],
    });
  });
});

// Members of a history are events of their own: one with the live reading of the same message, refused one by one.
import { canonical, eventId, type InboundEvent, parseRoutingKey } from "@linkspan/envelopes";
import type { Bus, Delivery } from "@linkspan/fabric";
import { ACK } from "@linkspan/fabric";
import { readEvents } from "@linkspan/store";
import { switchConnector } from "@linkspan/worker";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { describeWithServers } from "../servers/available.ts";
import { type PostgresServer, startPostgres } from "../servers/postgres.ts";
import { until } from "../servers/until.ts";
import { room, SignedDaemon, senderRef } from "./signed-daemon.ts";
import { openWorld, WORKSPACE, type World } from "./world.ts";

interface Ack {
  readonly account: string;
  readonly acked: readonly { readonly message_id: string; readonly status: string; readonly code?: string }[];
}

describeWithServers(["postgres"], "a batch of history", () => {
  let server: PostgresServer;
  let world: World;
  let bus: Bus;
  let daemon: SignedDaemon;
  const acks: Ack[] = [];

  beforeAll(async () => {
    server = await startPostgres();
    world = await openWorld({ databaseUrl: await server.createDatabase("history"), daemons: false });
    bus = world.broker.connect("tester");
    daemon = await new SignedDaemon(world.core, bus, "irc", "primary", 5).enrol();
    await daemon.hold();
    await bus.subscribe(
      { name: "acks", kind: "transient", bindings: [{ service: "irc", action: "ack_offset" }] },
      {
        handle: async (batch: readonly { delivery: Delivery }[]) => {
          for (const { delivery } of batch) {
            const { payload } = JSON.parse(Buffer.from(delivery.body).toString()) as { payload: Ack };
            acks.push(payload);
          }
          return batch.map(() => ACK);
        },
      },
    );
  });
  afterAll(async () => {
    await bus?.[Symbol.asyncDispose]();
    await world?.[Symbol.asyncDispose]();
    await server?.[Symbol.asyncDispose]();
  });

  let account = "";
  beforeEach(async () => {
    account = `alice-${crypto.randomUUID()}`;
    await daemon.serve(account);
    await world.core.database.query("TRUNCATE quarantine");
  });

  const member = (remoteId: string, changes: Partial<InboundEvent> = {}): InboundEvent => ({
    kind: "message",
    remote_id: remoteId,
    revision: "0",
    account,
    sender: { ref: senderRef("bob"), name: "bob", is_self: false },
    sent_at: "2026-11-20T11:34:58.123Z",
    text: `text ${remoteId}`,
    ...changes,
  });
  const batch = (events: readonly unknown[], conversation = room(account)) =>
    daemon.note("history_batch", { account, conversation, events, complete: true }, { conversation });
  const idOf = ({ kind, remote_id: remoteId, revision }: InboundEvent) =>
    eventId({ workspace: WORKSPACE, service: "irc", home: "primary", account, kind, remoteId, revision });
  const events = async (count: number) => {
    const read = () =>
      readEvents(world.core.database.pool, { workspaceId: WORKSPACE, after: 0, limit: 5_000 });
    const own = async () => (await read()).filter((event) => event.account === account);
    await until(async () => (await own()).length >= count, { what: `${count} events` });
    return own();
  };
  const refused = async () =>
    (
      await world.core.database.query<{ code: string; detail: string; routing_key: string }>(
        "SELECT code, detail, routing_key FROM quarantine",
      )
    ).rows;
  const ackedOf = () => acks.filter((ack) => ack.account === account).flatMap((ack) => ack.acked);

  test("becomes its members, in their order, each with the id of its live reading and with its own ack", async () => {
    const live = member("2");
    const conversation = room(account);
    await daemon.say(daemon.event({ account, remoteId: "2", conversation, payload: live }));
    const envelope = batch([member("1"), live, member("3", { native: { cursor: 3 } })]);
    await daemon.say(envelope);
    await daemon.say(envelope);
    const stored = await events(3);
    expect(stored.map((event) => event.messageId)).toEqual(["2", "1", "3"].map((id) => idOf(member(id))));
    expect(stored.every((event) => event.conversation === conversation)).toBe(true);
    const [first, second] = stored;
    expect([first?.sig !== undefined, first?.batchId]).toEqual([true, undefined]);
    expect([second?.kid, second?.sig]).toEqual([daemon.signer.kid, undefined]);
    const read = JSON.parse(second?.body.toString() ?? "") as typeof envelope;
    expect(read).toMatchObject({
      action: "inbound_event",
      metadata: { message_id: second?.messageId, conversation, issuer: daemon.issuer },
      payload: member("1"),
    });
    expect(second?.body.equals(canonical(read))).toBe(true);
    // The signed bytes that prove them are kept, and fanned out to nobody.
    const all = await readEvents(world.core.database.pool, {
      workspaceId: WORKSPACE,
      after: 0,
      limit: 5_000,
      all: true,
    });
    const proof = all.filter((event) => event.messageId === second?.batchId);
    expect(proof.map((event) => [event.fanOut, event.body.equals(canonical(envelope))])).toEqual([
      [false, true],
    ]);
    expect(await refused()).toEqual([]);
    await until(() => ackedOf().length === 9, { what: "an ack of each, both times" });
    expect(new Set(ackedOf().map((ack) => ack.message_id))).toEqual(
      new Set([envelope.metadata.message_id, ...["1", "2", "3"].map((id) => idOf(member(id)))]),
    );
    expect(new Set(ackedOf().map((ack) => ack.status))).toEqual(new Set(["persisted"]));
  });

  test("a bad member is refused alone, whatever is wrong with it, and its sender is told", async () => {
    const known = member("known");
    const conversation = room(account);
    await daemon.say(daemon.event({ account, remoteId: "known", conversation, payload: known }));
    const bad: Record<string, unknown>[] = [
      { ...member("kind"), kind: "nothing" },
      { ...member("extra"), surprise: 1 },
      { ...member("account"), account: "somebody else" },
      { ...known, text: "other words" },
      { nothing: "that is known" },
      { ...member("time"), sent_at: "yesterday" },
    ];
    await daemon.say(batch([member("a"), ...bad, member("b")]));
    const stored = await events(3);
    expect(stored.map((event) => event.messageId)).toEqual([known, member("a"), member("b")].map(idOf));
    const codes = (await refused()).map(({ code }) => code).toSorted();
    expect(codes).toEqual(["envelope.conflict", ...Array.from({ length: 5 }, () => "envelope.schema")]);
    expect((await refused()).map(({ routing_key }) => parseRoutingKey(routing_key).action)).toEqual(
      bad.map(() => "inbound_event"),
    );
    await until(() => ackedOf().filter(({ status }) => status === "quarantined").length === bad.length, {
      what: "an ack of each that was refused",
    });
  });

  test("one whose id was used for another is refused whole, without its members", async () => {
    const first = batch([member("a")]);
    await daemon.say(first);
    await daemon.say({ ...first, payload: { ...first.payload, events: [member("b")] } });
    expect((await refused()).map(({ code }) => code)).toEqual(["envelope.conflict"]);
    expect((await events(1)).map((event) => event.messageId)).toEqual([idOf(member("a"))]);
  });

  test("a connector that is switched off takes no history either", async () => {
    const change = { workspace_id: WORKSPACE, service: "irc", who: "test", why: "test" };
    await switchConnector(world.core, { ...change, enabled: false });
    try {
      await daemon.say(batch([member("a")]));
      expect((await refused()).map(({ code }) => code)).toEqual(["flag.disabled"]);
    } finally {
      await switchConnector(world.core, { ...change, enabled: true });
    }
    expect(await events(0)).toEqual([]);
  });

  test("many of the largest are taken in pieces, in order; one with too many members is refused", async () => {
    const large = (from: number) =>
      batch(Array.from({ length: 1_000 }, (_, at) => member(`${from + at}`, { text: "" })));
    await Promise.all([0, 1_000, 2_000].map((from) => daemon.say(large(from))));
    const stored = await events(3_000);
    expect(stored.map((event) => event.messageId)).toEqual(
      Array.from({ length: 3_000 }, (_, at) => idOf(member(`${at}`))),
    );
    await daemon.say(batch(Array.from({ length: 1_001 }, () => ({}))));
    expect((await refused()).map(({ code }) => code)).toEqual(["envelope.schema"]);
  });
});

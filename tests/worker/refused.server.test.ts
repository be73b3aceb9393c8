/** Bad input of every kind: its code, a row in quarantine, a log line without contents, and nothing else. */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import {
  channelRef,
  encode,
  type Envelope,
  type ErrorCode,
  eventId,
  type KeyRecord,
  noteId,
  parseTopic,
  partitionOf,
  type Route,
  routeOf,
  signerFromSeed,
  timestamp,
  traceIdOf,
} from "@linkspan/envelopes";
import { ownRecord, registerKey } from "@linkspan/compose/parts";
import type { Bus } from "@linkspan/fabric";
import { insertIdentity, readEvents, updateIdentity } from "@linkspan/store";
import { switchConnector } from "@linkspan/worker";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { describeWithServers } from "../servers/available.ts";
import { type PostgresServer, startPostgres } from "../servers/postgres.ts";
import { until } from "../servers/until.ts";
import { openWorld, type World, WORKSPACE } from "./world.ts";

const VECTORS = new URL("../../envelopes/vectors/", import.meta.url);
const lines = (name: string) =>
  readFileSync(new URL(name, VECTORS), "utf8")
    .split("\n")
    .filter((line) => line !== "");

interface InvalidVector {
  readonly name: string;
  readonly code: ErrorCode;
  readonly body_b64?: string;
  readonly body_fill?: readonly [number, string];
  readonly kid: string;
  readonly sig: string;
  readonly topic: string;
}

const vectors = lines("envelope-invalid.jsonl").map((line) => JSON.parse(line) as InvalidVector);
const { keys } = JSON.parse(readFileSync(new URL("keys.json", VECTORS), "utf8")) as { keys: KeyRecord[] };

/** Bytes that are refused for good keep their beginning. */
const KEPT_BYTES = 16_384;

/** Tables that refused input must leave as they are. */
const TABLES = [
  "events",
  "inbox_keys",
  "intents",
  "outbox",
  "checkpoints",
  "conversations",
  "contacts",
  "audit_entries",
];

describeWithServers(["postgres"], "refused input", () => {
  const signer = signerFromSeed(new Uint8Array(32).fill(9));
  let server: PostgresServer;
  let world: World;
  let bus: Bus;

  beforeAll(async () => {
    server = await startPostgres();
    world = await openWorld({ databaseUrl: await server.createDatabase("refused"), daemons: false });
    const { core } = world;
    for (const key of keys.filter((record) => !record.issuers.includes("core"))) await registerKey(core, key);
    const holder = { issuers: ["daemon:irc:primary"], purposes: ["envelope" as const], services: ["irc"] };
    await registerKey(core, ownRecord(signer, holder, new Date()));
    await insertIdentity(core.database.pool, {
      id: "alice",
      workspace_id: WORKSPACE,
      user_id: "u",
      service: "irc",
      instance: "primary",
      settings: {},
    });
    await updateIdentity(core.database.pool, "alice", { state: "linked" });
    bus = world.broker.connect("tester");
  });
  afterAll(async () => {
    await bus?.[Symbol.asyncDispose]();
    await world?.[Symbol.asyncDispose]();
    await server?.[Symbol.asyncDispose]();
  });
  beforeEach(async () => {
    world.lines.length = 0;
    await world.core.database.query(
      "TRUNCATE events, event_positions, inbox_keys, conversations, quarantine, instance_leases, connector_flags",
    );
  });

  const counts = async () => {
    const totals = TABLES.map((table) => `(SELECT count(*)::int FROM ${table}) AS ${table}`);
    const { rows } = await world.core.database.query(`SELECT ${totals.join(", ")}`);
    return rows[0];
  };
  const inQuarantine = async () => {
    const { rows } = await world.core.database.query<{
      code: string;
      body: Buffer;
      hash: Buffer;
      routing_key: string;
    }>("SELECT code, body, body_hash AS hash, routing_key FROM quarantine ORDER BY id");
    return rows;
  };

  interface Over {
    readonly metadata?: Partial<Envelope["metadata"]>;
    readonly payload?: Record<string, unknown>;
    readonly occurredAt?: string;
    readonly action?: string;
  }

  function event(remoteId: string, text: string, over: Over = {}): Envelope {
    const payload = {
      kind: "message",
      remote_id: remoteId,
      revision: "0",
      account: "alice",
      sender: { ref: "msgr://identity/bridges/irc/libera/bob", name: "bob", is_self: false },
      sent_at: timestamp(new Date()),
      text,
      ...over.payload,
    };
    const workspace = over.metadata?.workspace_id ?? WORKSPACE;
    const messageId = eventId({
      workspace,
      service: "irc",
      home: "primary",
      account: String(payload.account),
      kind: "message",
      remoteId,
      revision: "0",
    });
    return {
      schema: "msgr.bridge.v1",
      service: "irc",
      action: "inbound_event",
      trace_id: traceIdOf(messageId),
      occurred_at: over.occurredAt ?? timestamp(new Date()),
      metadata: {
        issuer: "daemon:irc:primary",
        workspace_id: workspace,
        instance: "primary",
        message_id: messageId,
        conversation: channelRef(workspace, "irc", ["libera", "#a"]),
        ...over.metadata,
      },
      payload,
    };
  }

  function note(action: string, payload: Record<string, unknown>, over: Over = {}): Envelope {
    const messageId = noteId("daemon:irc:primary", action, `${Math.random()}`);
    return {
      schema: "msgr.bridge.v1",
      service: "irc",
      action,
      trace_id: traceIdOf(messageId),
      occurred_at: over.occurredAt ?? timestamp(new Date()),
      metadata: {
        issuer: "daemon:irc:primary",
        workspace_id: WORKSPACE,
        instance: "primary",
        message_id: messageId,
        ...over.metadata,
      },
      payload,
    };
  }

  const send = (envelope: Envelope, over: { sig?: string; kid?: string; route?: Route } = {}) =>
    bus.publish({
      ...encode(envelope, signer),
      route: routeOf(envelope, 8),
      messageId: envelope.metadata.message_id,
      ...over,
    });

  test.each(vectors.map((vector) => [vector.name, vector] as const))("vector %s", async (_, vector) => {
    const before = await counts();
    const body =
      vector.body_b64 === undefined
        ? Buffer.alloc(vector.body_fill?.[0] ?? 0, Number.parseInt(vector.body_fill?.[1] ?? "", 16))
        : Buffer.from(vector.body_b64, "base64");
    const { service, instance, action } = parseTopic(vector.topic);
    const partition = partitionOf("msgr://channels/ten-9/bridge/xmpp/room%40muc.ex.org", 8);
    await bus.publish({
      body,
      kid: vector.kid,
      sig: vector.sig,
      messageId: vector.name,
      route: { service, instance, action, partition },
    });
    const [row, ...more] = await inQuarantine();
    expect(more).toEqual([]);
    expect(row?.code).toBe(vector.code);
    // Of bytes that no sender can mend, as much is kept as a person looks at, and the hash of all.
    expect(row?.body.equals(body.subarray(0, KEPT_BYTES))).toBe(true);
    expect(row?.hash).toEqual(createHash("sha256").update(body).digest());
    expect(await counts()).toEqual(before);
    const told = world.lines.find((line) => line.includes("envelope.quarantined"));
    expect(told).toContain(vector.code);
    expect(world.lines.join("")).not.toContain("r437109328591");
  });

  test("an event is taken, its repeat is a duplicate, other content under its id is a conflict", async () => {
    await send(event("1", "hello"));
    await send(event("1", "hello", { payload: { native: { seen: "again" } } }));
    expect((await counts())?.events).toBe(1);
    expect(await inQuarantine()).toEqual([]);
    await send(event("1", "something else"));
    expect((await counts())?.events).toBe(1);
    expect((await inQuarantine()).map((row) => row.code)).toEqual(["envelope.conflict"]);
  });

  const cases: [name: string, code: ErrorCode, make: () => Envelope][] = [
    [
      "an account that is not there",
      "envelope.wrong_issuer",
      () => event("1", "x", { payload: { account: "mallory" } }),
    ],
    [
      "an account of another workspace",
      "envelope.wrong_issuer",
      () => event("1", "x", { metadata: { workspace_id: "rival" } }),
    ],
    [
      "a conversation of another workspace",
      "envelope.schema",
      () => event("1", "x", { metadata: { conversation: channelRef("rival", "irc", ["libera", "#a"]) } }),
    ],
    [
      "an id that its content does not imply",
      "envelope.schema",
      () => event("1", "x", { payload: { remote_id: "2" } }),
    ],
    [
      "another instance's report",
      "envelope.wrong_issuer",
      () => event("1", "x", { metadata: { instance: "other" } }),
    ],
    [
      "a note of the day before yesterday",
      "envelope.expired",
      () =>
        note(
          "health",
          { status: "ok", identities: 1 },
          { occurredAt: timestamp(new Date(Date.now() - 2 * 86_400_000)) },
        ),
    ],
    [
      "a note from tomorrow",
      "envelope.from_future",
      () =>
        note(
          "health",
          { status: "ok", identities: 1 },
          { occurredAt: timestamp(new Date(Date.now() + 86_400_000)) },
        ),
    ],
    [
      "a payload with an unknown member",
      "envelope.schema",
      () => note("health", { status: "ok", identities: 1, extra: 1 }),
    ],
  ];
  test.each(cases)("%s", async (_, code, make) => {
    const before = await counts();
    const envelope = make();
    // The checks of our own encoder are not what is tested here.
    const bytes = new TextEncoder().encode(canonicalOf(envelope));
    const sig = signer.sign("application/vnd.msgr.bridge.v1+json", bytes);
    await bus.publish({ body: bytes, kid: signer.kid, sig, route: routeOf(envelope, 8), messageId: "m" });
    expect((await inQuarantine()).map((row) => row.code)).toEqual([code]);
    expect(await counts()).toEqual(before);
  });

  test("an event from before and one from the future are both taken: a peer's clock deafens nobody", async () => {
    await send(event("1", "old", { occurredAt: "2001-01-01T00:00:00.000Z" }));
    await send(event("2", "new", { occurredAt: "2099-01-01T00:00:00.000Z" }));
    expect(await inQuarantine()).toEqual([]);
    expect((await counts())?.events).toBe(2);
  });

  test("a valid envelope on another conversation's partition is misrouted", async () => {
    const envelope = event("1", "x");
    const route = routeOf(envelope, 8);
    await send(envelope, { route: { ...route, partition: (route.partition + 1) % 8 } });
    expect((await inQuarantine()).map((row) => row.code)).toEqual(["envelope.misrouted"]);
  });

  test("unsigned is refused", async () => {
    const envelope = event("1", "x");
    const { body } = encode(envelope, signer);
    await bus.publish({ body, route: routeOf(envelope, 8), messageId: "m" });
    expect((await inQuarantine()).map((row) => row.code)).toEqual(["envelope.unsigned"]);
  });

  test("a connector that is switched off takes nothing", async () => {
    await switchConnector(world.core, {
      workspace_id: WORKSPACE,
      service: "irc",
      enabled: false,
      who: "t",
      why: "t",
    });
    await send(event("1", "x"));
    expect((await inQuarantine()).map((row) => row.code)).toEqual(["flag.disabled"]);
  });

  test("one bad event among good ones stops nothing", async () => {
    const good = Array.from({ length: 20 }, (_, i) => event(`${i}`, `text ${i}`));
    await Promise.all(
      [...good.slice(0, 10), event("bad", "x", { payload: { account: "mallory" } }), ...good.slice(10)].map(
        (one) => send(one),
      ),
    );
    const read = () => readEvents(world.core.database.pool, { workspaceId: WORKSPACE, after: 0, limit: 100 });
    const stored = await until(async () => ((await read()).length === 20 ? read() : undefined), {
      what: "20 events",
    });
    const texts = stored.map((one) => (JSON.parse(one.body.toString()) as Envelope).payload.text);
    expect(texts).toEqual(good.map((one) => one.payload.text));
  });
});

function canonicalOf(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalOf).join(",")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  const members = Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1));
  return `{${members.map(([name, member]) => `${JSON.stringify(name)}:${canonicalOf(member)}`).join(",")}}`;
}

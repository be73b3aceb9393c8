/** Whatever a schema accepts at its bounds, a real database stores; what is just beyond is refused and stops nobody. */
import { actionsOf } from "@linkspan/envelopes";
import { edgesOf, exampleOf } from "@linkspan/envelopes/testing";
import type { Bus } from "@linkspan/fabric";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { describeWithServers } from "../servers/available.ts";
import { type PostgresServer, startPostgres } from "../servers/postgres.ts";
import { insertRecorded, newIntent } from "../store/intents.ts";
import { room, SignedDaemon } from "./signed-daemon.ts";
import { openWorld, type World, WORKSPACE } from "./world.ts";

const INTENT = "A".repeat(43);
const OUTCOMES = new Set(["delivery_status", "delivery_statuses", "deferred"]);
/** Of many reports in one envelope each names its own. */
const REPORT = { intent_id: INTENT, attempt: 1, identity_id: "alice" };
const actions = actionsOf("irc").filter(
  (action) => action.direction === "to_core" && action.name === action.canonical,
);

describeWithServers(["postgres"], "payloads at their bounds", () => {
  let server: PostgresServer;
  let world: World;
  let bus: Bus;
  let daemon: SignedDaemon;

  beforeAll(async () => {
    server = await startPostgres();
    world = await openWorld({ databaseUrl: await server.createDatabase("bounds"), daemons: false });
    bus = world.broker.connect("tester");
    daemon = await new SignedDaemon(world.core, bus, "irc", "primary", 5).enrol();
    await daemon.hold();
    await daemon.serve("alice");
    const intent = newIntent(INTENT, { workspaceId: WORKSPACE, conversation: room("a") });
    await insertRecorded(world.core.database.pool, [intent]);
  });
  afterAll(async () => {
    await bus?.[Symbol.asyncDispose]();
    await world?.[Symbol.asyncDispose]();
    await server?.[Symbol.asyncDispose]();
  });
  beforeEach(async () => {
    world.lines.length = 0;
    await world.core.database.query("TRUNCATE quarantine");
  });

  const refusals = async () => {
    const { rows } = await world.core.database.query<{ code: string; detail: string }>(
      "SELECT code, detail FROM quarantine ORDER BY id",
    );
    return rows;
  };

  /** Names that must be true stay as they are, whatever their bound. */
  const FIXED = new Set([".account", ".intent_id", ".statuses[].identity_id"]);
  const withFreshIds = (payload: unknown) =>
    (payload as { statuses: object[] }).statuses.map((one) => ({
      ...one,
      message_id: Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toString("base64url"),
    }));
  function envelope(action: string, payload: Record<string, unknown>, conversation = room("a")) {
    const own = { ...payload, ...("account" in payload && { account: "alice" }) };
    if (action === "inbound_event") return daemon.event({ account: "alice", payload: own, conversation });
    return daemon.note(action, own, {
      ...(OUTCOMES.has(action) && { identity_id: "alice" }),
      ...(action === "history_batch" && { conversation }),
    });
  }

  test.each(actions.map((action) => [action.name, action] as const))("%s", async (name, action) => {
    const schema = action.payload;
    const example = { ...(exampleOf(schema) as Record<string, unknown>), account: "alice" };
    if (!Object.keys((schema as unknown as { shape?: object }).shape ?? example).includes("account")) {
      delete (example as { account?: string }).account;
    }
    if (name === "delivery_statuses") {
      const [status] = (example as { statuses?: object[] }).statuses ?? [];
      Object.assign(example, { statuses: [{ ...status, ...REPORT }] });
    } else if (OUTCOMES.has(name)) Object.assign(example, { intent_id: INTENT, attempt: 1 });
    if (name === "history_batch") Object.assign(example, { conversation: room("a") });
    for (const edge of edgesOf(schema, example)) {
      // Two contents under one id would be a conflict.
      const fresh = (payload: unknown) => ({
        ...(payload as Record<string, unknown>),
        ...(name === "delivery_statuses" && { statuses: withFreshIds(payload) }),
        ...(name === "inbound_event" &&
          !edge.at.startsWith(".remote_id") && { remote_id: crypto.randomUUID() }),
      });
      const place = edge.at.split(" ")[0] ?? "";
      if (FIXED.has(place) || place.startsWith(".events") || place === ".conversation") continue;
      // Parts are held against each other, and so are accepted together.
      const value: Record<string, unknown> = fresh(edge.value);
      if (place === ".part") Object.assign(value, { parts: 1_000 });
      if (place === ".statuses[].part") {
        value.statuses = (value.statuses as object[]).map((one) => ({ ...one, parts: 1_000 }));
      }
      // A text at its own bound leaves no room for the rest of its envelope.
      if (place !== ".text") {
        await daemon.say(envelope(name, value));
        expect(await refusals(), `${edge.at} at its bound`).toEqual([]);
      }
      if (edge.beyond === undefined || place === ".native") continue;
      await daemon.say(envelope(name, fresh(edge.beyond)));
      expect(
        (await refusals()).map((row) => row.code),
        `${edge.at} beyond its bound`,
      ).toEqual([expect.stringMatching(/^envelope\.(?:schema|too_large)$/)]);
      await world.core.database.query("TRUNCATE quarantine");
    }
    expect(world.lines.filter((line) => line.includes('"level":50'))).toEqual([]);
  });

  test("a conversation at its bound is an index row, one beyond it is refused", async () => {
    const start = room("a");
    // What compresses well fits an index that it would not fit otherwise.
    const noise = Buffer.from(crypto.getRandomValues(new Uint8Array(8_192))).toString("hex");
    await daemon.say(envelope("inbound_event", {}, `${start}${noise}`.slice(0, 1_024)));
    expect(await refusals()).toEqual([]);
    for (const length of [1_025, 6_000]) {
      await daemon.say(envelope("inbound_event", {}, `${start}${noise}`.slice(0, length)));
    }
    expect((await refusals()).map((row) => row.code)).toEqual(["envelope.schema", "envelope.schema"]);
  });

  test("what is refused beyond its bound does not hold up the others of its partition", async () => {
    const poison = daemon.note(
      "delivery_status",
      {
        intent_id: INTENT,
        attempt: 1,
        part: 3_000_000_000,
        parts: 3_000_000_001,
        status: "sent",
        at: new Date().toISOString(),
      },
      { identity_id: "alice" },
    );
    await Promise.all([daemon.say(poison), daemon.say(daemon.event({ account: "alice" }))]);
    expect((await refusals()).map((row) => row.code)).toEqual(["envelope.schema"]);
  });
});

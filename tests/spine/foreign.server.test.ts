/** A daemon that others wrote, with Msgr's Python SDK: unsigned, its own spelling of times and ids. */
import { readEvents } from "@linkspan/store";
import { afterAll, beforeAll, expect, test } from "vitest";
import { describeWithServers } from "../servers/available.ts";
import { type PostgresServer, startPostgres } from "../servers/postgres.ts";
import { until } from "../servers/until.ts";
import { openWorld } from "./world.ts";

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
});

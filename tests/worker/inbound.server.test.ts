/** Which of several accounts is listened to, what counts of an older holder, and whose words are whose. */
import { type Envelope, type InboundEvent, routeOf, routingKey } from "@linkspan/envelopes";
import type { Bus } from "@linkspan/fabric";
import { identityById, listQuarantine, quarantine, readEvents, updateIdentity } from "@linkspan/store";
import { dropQuarantined, retryQuarantined } from "@linkspan/worker";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { describeWithServers } from "../servers/available.ts";
import { type PostgresServer, startPostgres } from "../servers/postgres.ts";
import { until } from "../servers/until.ts";
import { SignedDaemon, senderRef } from "./signed-daemon.ts";
import { openWorld, type World, WORKSPACE } from "./world.ts";

describeWithServers(["postgres"], "the way in, for several accounts and holders", () => {
  let server: PostgresServer;
  let world: World;
  let bus: Bus;
  let first: SignedDaemon;
  let second: SignedDaemon;

  beforeAll(async () => {
    server = await startPostgres();
    world = await openWorld({ databaseUrl: await server.createDatabase("inbound"), daemons: false });
    bus = world.broker.connect("tester");
    first = await new SignedDaemon(world.core, bus, "irc", "primary", 5).enrol();
    second = await new SignedDaemon(world.core, bus, "irc", "second", 6).enrol();
  });
  afterAll(async () => {
    await bus?.[Symbol.asyncDispose]();
    await world?.[Symbol.asyncDispose]();
    await server?.[Symbol.asyncDispose]();
  });
  beforeEach(async () => {
    await world.core.database.query(
      `TRUNCATE events, event_positions, inbox_keys, conversations, conversation_absences, identity_refs, shared_events,
       quarantine, instance_leases, checkpoints, identities CASCADE`,
    );
    await first.hold();
    await second.hold();
    await first.serve("a");
    await second.serve("b");
  });

  /** What readers get, as `account: text`. */
  const heard = async (): Promise<string[]> =>
    (await readEvents(world.core.database.pool, { workspaceId: WORKSPACE, after: 0, limit: 100 })).map(
      ({ account, body }) =>
        `${account}: ${(JSON.parse(body.toString()) as Envelope).payload.text as string}`,
    );
  const hears = (texts: readonly string[]) =>
    until(async () => JSON.stringify(await heard()) === JSON.stringify(texts), {
      what: `readers to get ${texts.join(", ")}`,
    });
  const say = (daemon: SignedDaemon, account: string, text: string, payload: Partial<InboundEvent> = {}) =>
    daemon.say(daemon.event({ account, payload: { text, ...payload } }));
  /** Both accounts see it. */
  async function meet(): Promise<void> {
    await say(first, "a", "first");
    await say(second, "b", "first");
    await hears(["a: first"]);
  }
  const member = (text: string, over: Partial<InboundEvent>): Partial<InboundEvent> => ({
    kind: "membership",
    text,
    ...over,
  });
  const self = (name: string) => ({ ref: senderRef(name), name, is_self: true });

  test("a reader that was kicked but stays connected: the other account reads from the next line on", async () => {
    await say(first, "a", "join", member("join", { sender: self("a") }));
    await say(second, "b", "join", member("join", { sender: self("b") }));
    await say(first, "a", "kick", member("kick", { target: senderRef("a") }));
    await say(second, "b", "peer speaks");
    await hears(["a: join", "a: kick", "b: peer speaks"]);
    expect((await identityById(world.core.database.pool, "a"))?.bridge_state).toBe("connected");
  });

  test("a reader whose removal only the other account saw is replaced all the same", async () => {
    await say(first, "a", "join", member("join", { sender: self("a") }));
    await say(second, "b", "join", member("join", { sender: self("b") }));
    await say(second, "b", "kick", member("kick", { target: senderRef("a") }));
    await say(second, "b", "peer speaks");
    await hears(["a: join", "b: kick", "b: peer speaks"]);
  });

  test("a reader that left and came back is not the reader again until the other is gone", async () => {
    await say(first, "a", "join", member("join", { sender: self("a") }));
    await meetAfter(["a: join"]);
    await say(first, "a", "leave", member("leave", { sender: self("a") }));
    await say(second, "b", "leave", member("leave", { sender: self("a"), ...by("a") }));
    await say(second, "b", "one");
    await say(first, "a", "join", member("join", { sender: self("a") }));
    await say(first, "a", "two");
    await say(second, "b", "two");
    await updateIdentity(world.core.database.pool, "b", { bridge_state: "transient_disconnect" });
    await say(first, "a", "three");
    await hears(
      ["a: join", "a: first", "a: leave", "b: one", "b: two", "a: three"].toSpliced(5, 0, "a: join"),
    );
  });
  const by = (name: string): Partial<InboundEvent> => ({
    sender: { ref: senderRef(name), name, is_self: false },
  });
  async function meetAfter(before: readonly string[]): Promise<void> {
    await say(first, "a", "first");
    await say(second, "b", "first");
    await hears([...before, "a: first"]);
  }

  test("after SIGKILL of the reader's daemon nothing that another account saw is lost, and nothing comes twice", async () => {
    await meet();
    // Seen by both, delivered by the reader first; then its daemon dies and its row still says connected.
    await say(first, "a", "one");
    await say(second, "b", "one");
    await say(second, "b", "in the gap");
    await hears(["a: first", "a: one"]);
    await first.lose();
    await say(second, "b", "after it");
    await hears(["a: first", "a: one", "b: in the gap", "b: after it"]);
    // The daemon is back and delivers what it had seen.
    await first.hold();
    await say(first, "a", "in the gap");
    await say(first, "a", "after it");
    await say(second, "b", "last");
    await hears(["a: first", "a: one", "b: in the gap", "b: after it", "b: last"]);
  });

  test("what a live reader does not deliver is fanned out from the other's copy within seconds", async () => {
    await meet();
    await say(second, "b", "the reader was deaf");
    await world.core.database.query(
      "UPDATE shared_events SET release_at = now() WHERE release_at IS NOT NULL",
    );
    await hears(["a: first", "b: the reader was deaf"]);
    await say(first, "a", "the reader was deaf");
    await say(first, "a", "next");
    await hears(["a: first", "b: the reader was deaf", "a: next"]);
  });

  test("the database's clock goes back: a held copy does not wait until it is as late again", async () => {
    await say(first, "a", "first");
    await say(second, "b", "first");
    await say(second, "b", "the reader was deaf");
    await world.core.database.query(
      "UPDATE shared_events SET release_at = release_at + interval '1 hour' WHERE release_at IS NOT NULL",
    );
    await hears(["a: first", "b: the reader was deaf"]);
  });

  test("a reader that was unlinked leaves the conversation to one account, without copies", async () => {
    await say(first, "a", "one");
    await updateIdentity(world.core.database.pool, "a", { state: "unlinked" });
    await say(second, "b", "two");
    await hears(["a: one", "b: two"]);
    const { rows } = await world.core.database.query("SELECT 1 FROM shared_events");
    expect(rows).toEqual([]);
  });

  test.each([
    ["linked first", "a", "b"],
    ["linked last", "b", "a"],
  ])("our own people are known where another account reads: %s", async (_, reader, speaker) => {
    const daemonOf = (account: string) => (account === "a" ? first : second);
    await say(daemonOf(reader), reader, "join", member("join", { sender: self(reader) }));
    await say(daemonOf(speaker), speaker, "join", member("join", { sender: self(speaker) }));
    await say(daemonOf(reader), reader, "ours", by(speaker));
    await say(daemonOf(reader), reader, "a stranger's");
    const read = () => readEvents(world.core.database.pool, { workspaceId: WORKSPACE, after: 0, limit: 100 });
    await until(async () => (await read()).length === 3, { what: "three events" });
    const events = await read();
    expect(events.map((event) => event.senderIdentity)).toEqual([reader, speaker, undefined]);
    // The bytes are those that the daemon signed.
    const stored = JSON.parse(events[1]?.body.toString() ?? "") as Envelope;
    expect(stored.payload.sender).toEqual({ ref: senderRef(speaker), name: speaker, is_self: false });
  });

  /** Whose words they are, of all that was stored, by the order of the log. */
  const speakers = async (count: number) => {
    const read = () =>
      world.core.database.query<{ sender_identity: string | null }>(
        "SELECT sender_identity FROM events ORDER BY id",
      );
    await until(async () => (await read()).rows.length === count, { what: `${count} events` });
    return (await read()).rows.map((row) => row.sender_identity);
  };

  test("a name that an account gave up, or was made to give up, is not its own: whoever takes it is a stranger", async () => {
    await say(second, "b", "join", member("join", { sender: self("b") }));
    await say(second, "b", "nick", member("nick", { sender: self("b"), target: senderRef("guest") }));
    await say(first, "a", "somebody under the old name", by("b"));
    await say(first, "a", "ours under the new name", by("guest"));
    expect(await speakers(4)).toEqual(["b", "b", null, "b"]);
  });

  test("a name under which an account hears somebody else is not its own, for it and for others", async () => {
    await say(second, "b", "join", member("join", { sender: self("b") }));
    await say(second, "b", "I am not b", { ...by("b"), remote_id: "x1" });
    await say(first, "a", "nor here", by("b"));
    expect(await speakers(3)).toEqual(["b", null, null]);
    await say(second, "b", "part", member("part", { ...by("b") }));
    const { rows } = await world.core.database.query("SELECT 1 FROM conversation_absences");
    expect(rows).toEqual([]);
  });

  test("a daemon gives none of its accounts a name of another service", async () => {
    const echo = await new SignedDaemon(world.core, bus, "echo", "primary", 7).enrol();
    await echo.hold();
    await echo.serve("e");
    await echo.say(
      echo.event({
        account: "e",
        payload: { sender: { ref: senderRef("bob"), name: "bob", is_self: true }, text: "I am bob of IRC" },
      }),
    );
    await say(first, "a", "the true bob", by("bob"));
    expect(await speakers(2)).toEqual(["e", null]);
  });

  test("a name is nobody's of ours once its account is gone, or in another workspace", async () => {
    await say(second, "b", "join", member("join", { sender: self("b") }));
    await updateIdentity(world.core.database.pool, "b", { bridge_state: "transient_disconnect" });
    await say(first, "a", "somebody under that name", by("b"));
    await updateIdentity(world.core.database.pool, "b", { bridge_state: "connected" });
    await first.serve("r", "rival");
    await first.say(
      first.event({ account: "r", metadata: { workspace_id: "rival" }, sender: "b", payload: { text: "x" } }),
    );
    const { rows } = await world.core.database.query<{ account: string; sender_identity: string | null }>(
      "SELECT account, sender_identity FROM events ORDER BY account",
    );
    expect(rows).toEqual([
      { account: "a", sender_identity: null },
      { account: "b", sender_identity: "b" },
      { account: "r", sender_identity: null },
    ]);
  });

  test("an event that was confirmed under an older epoch is stored; effects of that epoch are not", async () => {
    const event = first.event({ account: "a", payload: { text: "only said once" } });
    const checkpoint = first.note("checkpoint", { account: "a", cursor: { at: 1 } });
    await first.hold();
    await first.say(event);
    await first.say(checkpoint);
    await hears(["a: only said once"]);
    const refused = await listQuarantine(world.core.database.pool, { limit: 10 });
    expect(refused.map((row) => row.code)).toEqual(["envelope.wrong_issuer"]);
    const { rows } = await world.core.database.query("SELECT 1 FROM checkpoints");
    expect(rows).toEqual([]);
  });

  test("states are ordered by epoch and by when the core takes them in, not by the daemon's clock", async () => {
    const stateOf = async () => (await identityById(world.core.database.pool, "a"))?.bridge_state;
    const report = (state: string, ahead: number) => {
      const note = first.note("bridge_state", { account: "a", state, message: "" });
      return first.say({ ...note, occurred_at: new Date(Date.now() + ahead).toISOString() });
    };
    await report("transient_disconnect", 200_000);
    await first.hold();
    await report("connected", 0);
    expect(await stateOf()).toBe("connected");
    await report("backfilling", -200_000);
    expect(await stateOf()).toBe("backfilling");
  });

  test("what cannot be read and waits for quarantine holds up nobody else's events", async () => {
    const { database } = world.core;
    const event = first.event({ account: "a", payload: { text: "sound" } });
    const own = routeOf(event, world.core.namespace.partitions);
    const route = { ...own, partition: own.partition === 0 ? 1 : 0 };
    const key = routingKey(route);
    const body = Buffer.from("not json");
    const holder = await database.pool.connect();
    let sent: Promise<void> | undefined;
    try {
      await holder.query("BEGIN");
      await quarantine(holder, {
        code: "envelope.malformed",
        detail: "not settled yet",
        routingKey: key,
        issuer: undefined,
        workspaceId: undefined,
        messageId: undefined,
        kid: undefined,
        sig: undefined,
        body,
      });
      sent = bus.publish({
        route,
        body,
        messageId: "x".repeat(43),
        kid: first.signer.kid,
        sig: first.signer.sign("application/vnd.msgr.bridge.v1+json", body),
      });
      /** When the transactions began that wait for a row. */
      const waiting = async () => {
        const { rows } = await database.query<{ began: string }>(
          `SELECT xact_start::text AS began FROM pg_stat_activity
            WHERE datname = current_database() AND wait_event_type = 'Lock'`,
        );
        return rows.map(({ began }) => began);
      };
      await until(async () => (await waiting()).length > 0, { what: "quarantine to wait" });
      const before = await waiting();
      await first.say(event);
      await hears(["a: sound"]);
      // The same wait goes on: the event did not come after it.
      expect(await waiting()).toEqual(before);
    } finally {
      await holder.query("ROLLBACK");
      holder.release();
      await sent;
    }
    await until(async () => (await listQuarantine(database.pool, { limit: 5 })).length === 1, {
      what: "the unreadable envelope to be in quarantine",
    });
  });

  test("a quarantined envelope is retried as often as one likes, stays on the open list while it fails, and can be dropped", async () => {
    const { core } = world;
    await core.database.query("UPDATE identities SET state = 'pending' WHERE id = 'a'");
    await say(first, "a", "early");
    const [row] = await listQuarantine(core.database.pool, { state: "open", limit: 10 });
    const id = row?.id ?? "";
    for (let seen = 2; seen < 4; seen++) {
      await retryQuarantined(core, id, "op");
      expect(await listQuarantine(core.database.pool, { state: "open", limit: 10 })).toMatchObject([
        { id, seen },
      ]);
    }
    await updateIdentity(core.database.pool, "a", { state: "linked" });
    await retryQuarantined(core, id, "op");
    await hears(["a: early"]);
    expect(await listQuarantine(core.database.pool, { state: "open", limit: 10 })).toEqual([]);
    await retryQuarantined(core, id, "op");
    await hears(["a: early"]);
    await dropQuarantined(core, id, "op");
    await expect(retryQuarantined(core, id, "op")).rejects.toMatchObject({ code: "request.not_found" });
  });
});

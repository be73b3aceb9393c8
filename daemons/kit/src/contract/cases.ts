/** What every connector must do. Each requirement is a case that a broken connector fails. */
import assert from "node:assert/strict";
import { InboundEventSchema, isFabricError } from "@linkspan/envelopes";
import type { Connection, OutboundAction, Part, Window } from "../connector.ts";
import type { ConnectorFixture } from "./fixture.ts";
import { RecordingHost, until } from "./recording-host.ts";
import { strayErrors } from "./stray.ts";

export interface ConnectorCase {
  readonly name: string;
  readonly run: (fixture: ConnectorFixture) => Promise<void>;
}

interface Live {
  readonly connection: Connection;
  readonly host: RecordingHost;
  readonly eventually: (what: string, holds: () => boolean) => Promise<void>;
}

/** Opens the fixture's identity, waits until it is connected, and closes it afterwards. */
function live(act: (live: Live, fixture: ConnectorFixture) => Promise<void>): ConnectorCase["run"] {
  return async (fixture) => {
    const host = new RecordingHost(fixture.secrets);
    const eventually = (what: string, holds: () => boolean) => until(what, holds, fixture.patienceMs);
    const connection = await fixture.connector.open(fixture.identity, host);
    try {
      await eventually("it reports connected", () => isConnected(host));
      await act({ connection, host, eventually }, fixture);
    } finally {
      host.release();
      await connection[Symbol.asyncDispose]();
    }
  };
}

export const CONNECTOR_CASES: readonly ConnectorCase[] = [
  {
    name: "what a peer says arrives as one valid event of that account and conversation",
    run: live(async ({ host, eventually }, { peer, identity, conversation }) => {
      await peer.say("hello over there");
      await peer.say("and that is all");
      await eventually("both events arrive", () => host.texts().includes("and that is all"));
      const [event, ...more] = host.events.filter(({ payload }) => payload.text === "hello over there");
      assert.equal(more.length, 0, "it arrived more than once");
      assert.equal(event?.conversation, conversation);
      assert.equal(event?.payload.account, identity.identityId);
      for (const { payload } of host.events) InboundEventSchema.parse(payload);
    }),
  },
  {
    name: "events come in the order in which they were said, with ids of their own",
    run: live(async ({ host, eventually }, { peer }) => {
      const said = Array.from({ length: 20 }, (_, index) => `number ${index}`);
      for (const text of said) await peer.say(text);
      await eventually("all arrive", () => host.texts().length >= said.length);
      assert.deepEqual(host.texts(), said);
      const ids = host.events.map(
        ({ payload }) => `${payload.kind} ${payload.remote_id} ${payload.revision}`,
      );
      assert.equal(new Set(ids).size, ids.length, "two events have one id");
    }),
  },
  {
    name: "while an event is not taken, none overtakes it and none is lost",
    run: live(async ({ host, eventually }, { peer }) => {
      host.hold();
      const said = ["first", "second", "third", "fourth", "fifth"];
      for (const text of said) await peer.say(text);
      await eventually("the first is offered", () => host.events.length > 0);
      host.release();
      await eventually("all arrive", () => host.texts().length >= said.length);
      assert.deepEqual(host.texts(), said);
      assert.equal(host.mostUnresolved, 1, "it went on reading while an event was not taken");
    }),
  },
  {
    name: "planning is repeatable and says nothing",
    run: live(async ({ connection, eventually }, { peer, conversation }) => {
      const action = message(conversation, "only planned");
      assert.deepEqual(connection.plan(action), connection.plan(action));
      await sayOne(connection, message(conversation, "really said"));
      await eventually("the peer hears the other", () => peer.heard().includes("really said"));
      assert.deepEqual(peer.heard(), ["really said"]);
    }),
  },
  {
    name: "a part that is said is heard once and gets an id",
    run: live(async ({ connection, eventually }, { peer, conversation }) => {
      const said = await sayOne(connection, message(conversation, "good morning"));
      assert.ok(said.remoteId.length > 0);
      await eventually("the peer hears it", () => peer.heard().length > 0);
      await sayOne(connection, message(conversation, "and goodbye"));
      await eventually("the peer hears what follows", () => peer.heard().includes("and goodbye"));
      assert.deepEqual(peer.heard(), ["good morning", "and goodbye"]);
    }),
  },
  {
    name: "long text is cut between code points into parts that lose nothing",
    run: live(async ({ connection, eventually }, { peer, conversation, connector }) => {
      const limit = connector.capabilities.maxPartBytes;
      if (limit === undefined) return;
      // 14 bytes with code points of every length, so that cuts at equal distances do not all fall between
      // code points.
      const text = "größe🌉€".repeat(Math.ceil((limit * 2.5) / 14));
      const parts = connection.plan(message(conversation, text));
      assert.ok(parts.length >= 3, `${parts.length} parts for two and a half times the limit`);
      assert.deepEqual(
        parts.map(({ index }) => index),
        parts.map((_, index) => index),
      );
      for (const part of parts) await connection.perform(part, `long.${part.index}`, openWindow());
      await eventually("the peer hears all parts", () => peer.heard().length >= parts.length);
      assert.equal(peer.heard().join(""), text);
      for (const heard of peer.heard()) assert.ok(Buffer.byteLength(heard) <= limit, "a part is too long");
    }),
  },
  {
    name: "in a closed window nothing is said",
    run: live(async ({ connection, eventually }, { peer, conversation }) => {
      const [part] = connection.plan(message(conversation, "too late"));
      assert.ok(part);
      await assert.rejects(async () => connection.perform(part, "late.0", closedWindow()));
      await sayOne(connection, message(conversation, "in time"));
      await eventually("the peer hears what was in time", () => peer.heard().includes("in time"));
      assert.deepEqual(peer.heard(), ["in time"]);
    }),
  },
  {
    name: "what was said is found by its key, and nothing else is",
    run: live(async ({ connection }, { conversation }) => {
      if (connection.find === undefined) return;
      const since = new Date(Date.now() - 60_000);
      const [part] = connection.plan(message(conversation, "find me"));
      assert.ok(part);
      assert.equal(await connection.find(part, "find.0", since), undefined);
      const said = await connection.perform(part, "find.0", openWindow());
      assert.equal((await connection.find(part, "find.0", since))?.remoteId, said.remoteId);
    }),
  },
  {
    name: "capabilities are true: what is not offered is refused, what is offered is planned",
    run: live(async ({ connection }, { conversation, connector }) => {
      for (const [can, action] of offers(connector.capabilities, conversation)) {
        if (can) assert.ok(connection.plan(action).length > 0, `${action.action} is offered`);
        else assert.throws(() => connection.plan(action), isUnsupported, `${action.action} is not offered`);
      }
    }),
  },
  {
    name: "an account's own words are never reported as another's",
    run: live(async ({ connection, host, eventually }, { peer, conversation }) => {
      await sayOne(connection, message(conversation, "my own words"));
      await eventually("the peer hears it", () => peer.heard().includes("my own words"));
      await peer.say("marker");
      await eventually("the marker arrives", () => host.texts().includes("marker"));
      const others = host.events.filter(
        ({ payload }) => !payload.sender.is_self && payload.reply_to === undefined,
      );
      assert.ok(!others.some(({ payload }) => payload.text === "my own words"));
    }),
  },
  {
    name: "a lost connection is reported and mended, and events go on",
    run: live(async ({ host, eventually }, { peer }) => {
      if (peer.drop === undefined) return;
      await peer.drop();
      await eventually("the loss is reported", () => hasState(host, "transient_disconnect"));
      await eventually("it is connected again", () => isConnected(host));
      await peer.say("welcome back");
      await eventually("events go on", () => host.texts().includes("welcome back"));
      assert.ok(
        host.states.every(({ message: sentence }) => sentence.length > 0),
        "a state says nothing to a person",
      );
    }),
  },
  {
    name: "a closed connection reports nothing more, and closing again does no harm",
    run: live(async ({ connection, host, eventually }, { peer, connector, identity, secrets }) => {
      await connection[Symbol.asyncDispose]();
      const before = host.events.length;
      await peer.say("is anybody there");
      const other = new RecordingHost(secrets);
      const second = await connector.open(identity, other);
      await eventually("another connection comes up", () => isConnected(other));
      await peer.say("somebody else is");
      await eventually("the other hears", () => other.texts().includes("somebody else is"));
      await second[Symbol.asyncDispose]();
      assert.equal(host.events.length, before);
      await connection[Symbol.asyncDispose]();
    }),
  },
  {
    name: "an event that the kit refuses, and a connection cut meanwhile, let no error out of the connector",
    run: async (fixture) => {
      const strays = await strayErrors(() =>
        live(async ({ host, eventually }, { peer }) => {
          host.refuse();
          await peer.say("nobody takes this");
          await eventually("it is offered", () => (host.refused ?? 0) > 0);
          await peer.drop?.();
        })(fixture),
      );
      assert.deepEqual(strays, [], "an error reached the process");
    },
  },
  {
    name: "who declares no durable rows keeps none",
    run: live(async ({ connection, host }, { connector, conversation }) => {
      if (connector.capabilities.rows === true) return;
      await sayOne(connection, message(conversation, "nothing is kept of this"));
      assert.equal(host.rows.loads + host.rows.commits, 0, "it uses rows, but does not declare them");
    }),
  },
  {
    name: "durable rows are loaded first, and nothing is said before they are kept",
    run: live(async ({ connection, host, eventually }, { connector, peer, conversation }) => {
      if (connector.capabilities.rows !== true) return;
      host.rows.hold();
      const before = host.rows.commits;
      const said = sayOne(connection, message(conversation, "after it is kept"));
      said.catch(() => undefined);
      await eventually("rows are committed", () => host.rows.commits > before);
      assert.ok(host.rows.loads > 0, "rows are committed that were never loaded");
      // What leaves at once leaves before this turn of the event loop ends.
      await new Promise(setImmediate);
      assert.deepEqual(peer.heard(), [], "it was said before its rows were kept");
      host.rows.release();
      await said;
      await eventually("the peer hears it", () => peer.heard().includes("after it is kept"));
    }),
  },
  {
    name: "what cannot be kept is not said, and another connection goes on with what was kept",
    run: live(
      async ({ connection, host, eventually }, { connector, identity, secrets, peer, conversation }) => {
        if (connector.capabilities.rows !== true) return;
        await sayOne(connection, message(conversation, "this is kept"));
        host.rows.refuse();
        await assert.rejects(sayOne(connection, message(conversation, "this is not")));
        const kept = [...host.rows.kept.keys()];
        assert.ok(kept.length > 0, "nothing was kept");
        await connection[Symbol.asyncDispose]();
        const other = new RecordingHost(secrets, host.rows.kept);
        const second = await connector.open(identity, other);
        await eventually("another connection comes up", () => isConnected(other));
        await sayOne(second, message(conversation, "this is again"));
        await eventually("the peer hears it", () => peer.heard().includes("this is again"));
        await second[Symbol.asyncDispose]();
        assert.ok(other.rows.loads > 0, "it did not load what was kept");
        assert.ok(
          kept.some((name) => other.rows.kept.has(name)),
          "it forgot what was kept",
        );
        assert.deepEqual(peer.heard(), ["this is kept", "this is again"]);
      },
    ),
  },
  {
    name: "a login that the platform refuses is reported as one",
    run: async ({ connector, identity, secrets, refused, patienceMs }) => {
      if (refused === undefined) return;
      const host = new RecordingHost(refused.secrets ?? secrets);
      try {
        await using _connection = await connector.open(refused.identity ?? identity, host);
        await until("it reports bad credentials", () => hasState(host, "bad_credentials"), patienceMs);
      } catch (error) {
        assert.ok(isFabricError(error) && error.code === "platform.auth_expired", String(error));
      }
    },
  },
];

function message(conversation: string, text: string): OutboundAction {
  return { action: "outbound_message", conversation, payload: { text } };
}

let keys = 0;

async function sayOne(connection: Connection, action: OutboundAction) {
  const [part, ...more]: readonly Part[] = connection.plan(action);
  assert.ok(part);
  assert.equal(more.length, 0, "a short text is one part");
  keys += 1;
  return connection.perform(part, `contract-${keys}.0`, openWindow());
}

function openWindow(): Window {
  return { untilMs: performance.now() + 15_000, signal: new AbortController().signal };
}

function closedWindow(): Window {
  return { untilMs: performance.now() - 1, signal: AbortSignal.abort(new Error("the window is closed")) };
}

function offers(
  can: ConnectorFixture["connector"]["capabilities"],
  conversation: string,
): readonly (readonly [boolean, OutboundAction])[] {
  const action = (name: string, payload: Readonly<Record<string, unknown>>): OutboundAction => ({
    action: name,
    conversation,
    payload,
  });
  return [
    [can.send.length > 0, action("outbound_message", { text: "offered" })],
    [can.edit, action("outbound_edit", { target: "1", text: "better" })],
    [can.delete, action("outbound_delete", { target: "1" })],
    [can.reaction, action("outbound_reaction", { target: "1", key: "👍" })],
    [can.typing, action("outbound_typing", { typing: true })],
    [can.read, action("outbound_read", { target: "1" })],
    [false, action("outbound_telepathy", {})],
  ];
}

function isUnsupported(error: unknown): boolean {
  return (
    isFabricError(error) && (error.code === "platform.unsupported" || error.code === "action.unsupported")
  );
}

function isConnected(host: RecordingHost): boolean {
  return host.states.at(-1)?.state === "connected";
}

function hasState(host: RecordingHost, state: string): boolean {
  return host.states.some((reported) => reported.state === state);
}

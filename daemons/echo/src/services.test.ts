/** Every outbound action of every service, by its canonical and by Msgr's name, through kit and bus and back. */
import { eventually, World } from "@linkspan/daemon-kit/testing";
import { actionsOf, channelRef } from "@linkspan/envelopes";
import { expect, test } from "vitest";
import { EchoPlatform } from "./client.ts";
import { echoConnector } from "./connector.ts";

type Sample = readonly [payload: Readonly<Record<string, unknown>>, kind: string];

const CANONICAL: Readonly<Record<string, readonly Sample[]>> = {
  outbound_message: [[{ text: "hello", entities: [{ type: "bold", offset: 0, length: 5 }] }, "message"]],
  outbound_edit: [[{ target: "m-1", text: "better" }, "edit"]],
  outbound_delete: [[{ target: "m-1" }, "delete"]],
  outbound_reaction: [[{ target: "m-1", key: "👍" }, "reaction"]],
  outbound_typing: [[{ typing: true }, "typing"]],
  outbound_read: [[{ target: "m-1" }, "receipt"]],
  join_channel: [[{ channel: "lobby" }, "membership"]],
  leave_channel: [[{ channel: "lobby", reason: "bye" }, "membership"]],
};

const TELEGRAM = {
  outbound_message: [[{ chat_id: "user:1", message: "hello" }, "message"]],
  outbound_edit_message: [[{ chat_id: "user:1", message_id: 5, message: "better" }, "edit"]],
  outbound_delete_message: [[{ chat_id: "user:1", message_ids: [5], revoke: true }, "delete"]],
} as const satisfies Readonly<Record<string, readonly Sample[]>>;

const MATRIX = {
  outbound_event: [
    [{ room_id: "!r:ex.org", event_type: "m.room.message", content: { body: "hello" } }, "message"],
  ],
  outbound_message: [[{ room_id: "!r:ex.org", message: "hello", txn_id: "t-1" }, "message"]],
} as const satisfies Readonly<Record<string, readonly Sample[]>>;

const IRC = {
  outbound_command: [[{ command: "PRIVMSG", target: "#lobby", arguments: ["hello"] }, "message"]],
  outbound_message: [[{ body: "hello" }, "message"]],
} as const satisfies Readonly<Record<string, readonly Sample[]>>;

const XMPP = {
  outbound_stanza: [[{ stanza: "<message/>", format: "xml" }, "message"]],
} as const satisfies Readonly<Record<string, readonly Sample[]>>;

const MSGR: Readonly<Record<string, readonly Readonly<Record<string, readonly Sample[]>>[]>> = {
  telegram: [TELEGRAM],
  matrix: [MATRIX],
  irc: [IRC],
  xmpp: [XMPP],
  echo: [TELEGRAM, MATRIX, IRC, XMPP],
};

for (const [service, aliases] of Object.entries(MSGR)) {
  test(`every outbound action of ${service} comes back as what a peer would have done`, async () => {
    await using world = await World.make(service);
    const { core } = world;
    core.link("id-1", { name: "ada" });
    await world.up(echoConnector({ platform: new EchoPlatform(), service }));
    const conversation = channelRef("acme", service, ["lobby"]);
    const outbound = actionsOf(service).filter(
      ({ direction, capability }) =>
        direction === "to_daemon" && (capability === "send" || capability === "admin"),
    );
    for (const { name } of outbound) {
      const samples = [CANONICAL, ...aliases].flatMap((each) => each[name] ?? []);
      expect(samples, `${name} has no sample`).not.toEqual([]);
      for (const [payload, kind] of samples) {
        const before = core.payloads("inbound_event").length;
        await core.say("id-1", payload, { action: name, conversation });
        await eventually(() => core.payloads("inbound_event").length > before);
        expect(core.payloads("delivery_status").at(-1)).toMatchObject({ status: "sent" });
        expect(core.heard.filter(({ action }) => action === "inbound_event").at(-1)).toMatchObject({
          metadata: { conversation },
          payload: { kind, account: "id-1", sender: { name: "echo", is_self: false } },
        });
      }
    }
    await eventually(
      () => core.identities.get("id-1")?.checkpoint?.seq === core.payloads("inbound_event").length,
    );
  });
}

async function lobby() {
  const world = await World.make();
  const platform = new EchoPlatform();
  world.core.link("id-1");
  await world.up(echoConnector({ platform }));
  const conversation = channelRef("acme", "echo", ["lobby"]);
  const say = (text: string) => world.core.say("id-1", { text }, { conversation });
  const texts = () => world.core.payloads("inbound_event").map(({ text }) => text);
  const statuses = () => world.core.payloads("delivery_status").map(({ status, code }) => code ?? status);
  return { world, core: world.core, platform, say, texts, statuses };
}

test("it fails with the code it is told, and sends nothing", async () => {
  const { world, platform, say, statuses } = await lobby();
  await using _ = world;
  for (const code of ["platform.forbidden", "platform.too_long", "platform.not_found"])
    await say(`!fail ${code}`);
  expect(statuses()).toEqual(["platform.forbidden", "platform.too_long", "platform.not_found"]);
  expect(platform.countOf("id-1")).toBe(0);
});

test("it is slow, and others are not", async () => {
  const { world, core, say, texts } = await lobby();
  await using _ = world;
  const slow = say("!slow 300 slow");
  await core.say("id-1", { text: "quick" }, { conversation: channelRef("acme", "echo", ["elsewhere"]) });
  await slow;
  await eventually(() => texts().length === 2);
  expect(texts()).toEqual(["quick", "!slow 300 slow"]);
});

test("a duplicate is one message id twice, a reordered echo comes behind the next", async () => {
  const { world, core, say, texts } = await lobby();
  await using _ = world;
  await say("!duplicate twice");
  await say("!reorder late");
  await say("early");
  await eventually(() => texts().length === 4);
  expect(texts()).toEqual(["!duplicate twice", "!duplicate twice", "early", "!reorder late"]);
  const ids = core.heard
    .filter(({ action }) => action === "inbound_event")
    .map(({ metadata }) => metadata.message_id);
  expect(new Set(ids).size).toBe(3);
});

test("a dropped connection comes back, and what was sent while it was away is read", async () => {
  const { world, core, say, texts } = await lobby();
  await using _ = world;
  await say("!drop goodbye");
  await say("hello again");
  await eventually(() => texts().length === 2);
  const states = core.payloads("bridge_state").map(({ state }) => state);
  expect(states.slice(states.indexOf("transient_disconnect"))).toEqual(["transient_disconnect", "connected"]);
});

test("an unanswered part is found when it was sent, and put off when it was not", async () => {
  const { world, core, platform, say, statuses } = await lobby();
  await using _ = world;
  core.decide = () => ({ decision: "go", window_ms: 500 });
  await say("!uncertain but sent");
  expect(statuses()).toEqual(["sent"]);
  await say("!lost and not sent");
  expect(core.payloads("deferred")).toHaveLength(1);
  expect(platform.countOf("id-1")).toBe(1);
});

test("a long text goes in parts, each with its status", async () => {
  const { world, core, say, texts } = await lobby();
  await using _ = world;
  const text = "größe🌉".repeat(250);
  await say(text);
  await eventually(() => texts().length === 3);
  expect(texts().join("")).toBe(text);
  expect(
    core.payloads("delivery_status").map(({ part, parts }) => `${String(part)}/${String(parts)}`),
  ).toEqual(["0/3", "1/3", "2/3"]);
});

test("a killed daemon's successor reads on where the acks ended, and loses nothing", async () => {
  const world = await World.make();
  await using _ = world;
  const { core } = world;
  core.lease.ttlMs = 600;
  const platform = new EchoPlatform();
  core.link("id-1");
  const first = await world.up(echoConnector({ platform }));
  for (let n = 0; n < 50; n++) platform.happen("id-1", { kind: "message", channel: "lobby", text: `n${n}` });
  await eventually(() => core.payloads("inbound_event").length > 20);
  first.kill();
  for (let n = 50; n < 100; n++)
    platform.happen("id-1", { kind: "message", channel: "lobby", text: `n${n}` });
  await world.start(echoConnector({ platform }));
  await eventually(() => core.identities.get("id-1")?.checkpoint?.seq === 100);
  const texts = core.payloads("inbound_event").map(({ text }) => text);
  const firsts = texts.filter((text, index) => texts.indexOf(text) === index);
  expect(firsts).toEqual(Array.from({ length: 100 }, (_unused, n) => `n${n}`));
});

import fc from "fast-check";
import { expect, test } from "vitest";
import { actionOf } from "../names/actions.ts";
import { valuesOf } from "../testing/arbitrary.ts";
import { toCanonicalEvent } from "./canonical-event.ts";
import type { EventContext } from "./event-context.ts";
import { InboundEventSchema } from "../payloads/events.ts";
import { codeOf, event } from "../sample.ts";

const context: EventContext = {
  workspaceId: "w",
  instance: "libera",
  account: "acct",
  occurredAt: "2026-11-20T11:34:58.123Z",
};

const INBOUND = [
  ["telegram", "inbound_update"],
  ["matrix", "inbound_event"],
  ["irc", "inbound_message"],
  ["xmpp", "inbound_stanza"],
] as const;

test.each(INBOUND)("whatever %s %s says becomes a canonical event", (service, name) => {
  const schema = actionOf(service, name)?.payload;
  if (schema === undefined) throw new Error("not in the registry");
  fc.assert(
    fc.property(valuesOf(schema), (payload) => {
      const { conversation, payload: canonical } = toCanonicalEvent(
        service,
        name,
        payload as object as Record<string, unknown>,
        context,
      );
      const result = InboundEventSchema.safeParse(canonical);
      expect(result.error?.issues ?? []).toEqual([]);
      if (!("kind" in (payload as object)))
        expect(conversation).toMatch(new RegExp(`^msgr://channels/w/bridge/${service}/`));
    }),
    { numRuns: 200 },
  );
});

test("a canonical payload is left as it is, and the envelope's conversation wins", () => {
  const conversation = "msgr://channels/w/bridge/matrix/x";
  const result = toCanonicalEvent("matrix", "inbound_event", event.payload, { ...context, conversation });
  expect(result).toEqual({ conversation, payload: event.payload });
  expect(result.payload).toBe(event.payload);
});

test("what is no inbound event has no canonical one", () => {
  expect(codeOf(() => toCanonicalEvent("irc", "health", {}, context))).toBe("action.unsupported");
});

const of = (
  service: string,
  name: string,
  payload: Record<string, unknown>,
  more: Partial<EventContext> = {},
) => toCanonicalEvent(service, name, payload, { ...context, ...more });

test("telegram: an edit in a channel, with entities, a reply and a photo", () => {
  const update = {
    update_id: 77,
    chat_id: 5,
    message: "bold link",
    message_id: 9,
    update_type: "UpdateEditChannelMessage",
    sender: { user_id: 3, first_name: "Ada", last_name: "L" },
    reply_to: 8,
    entities: [
      { type: "MessageEntityBold", offset: 0, length: 4 },
      { _: "MessageEntityTextUrl", offset: 5, length: 4, url: "https://ex.org" },
      { type: "MessageEntityCustomEmoji", offset: 0, length: 1 },
      { type: "MessageEntityBold", offset: 8, length: 9 },
    ],
    media: { type: "MessageMediaPhoto" },
  };
  const { conversation, payload } = of("telegram", "inbound_update", update);
  expect(conversation).toBe("msgr://channels/w/bridge/telegram/channel%3A5");
  expect(payload).toMatchObject({
    kind: "edit",
    remote_id: "channel:5/9",
    revision: "77",
    target: "channel:5/9",
    sender: { ref: "msgr://identity/bridges/telegram/user%3A3", name: "Ada L" },
    text: "bold link",
    entities: [
      { type: "bold", offset: 0, length: 4 },
      { type: "link", offset: 5, length: 4, url: "https://ex.org" },
    ],
    reply_to: "8",
    media: [{ kind: "image" }],
    cursor: { update_id: 77 },
  });
  expect(payload.native).not.toHaveProperty("message");
});

test.each([
  [{ chat_id: 5, sender: { user_id: 5 } }, "~acct/user%3A5"],
  [{ chat_id: 5, sender: 5 }, "~acct/user%3A5"],
  [{ chat_id: 5, sender: { user_id: 6 } }, "~acct/peer%3A5"],
  [{ chat_id: "chat:5" }, "chat%3A5"],
  [{ chat_id: "user:5" }, "~acct/user%3A5"],
])("telegram: the conversation of %j", (members, remote) => {
  const { conversation } = of("telegram", "inbound_update", { update_id: 1, message: "", ...members });
  expect(conversation).toBe(`msgr://channels/w/bridge/telegram/${remote}`);
});

test("matrix: text, thread, reply, edit and file", () => {
  const from = { event_id: "$1", room_id: "!r:ex", sender: "@a:ex" };
  const read = (body: unknown) => of("matrix", "inbound_event", { ...from, body }).payload;
  expect(read("hi")).toMatchObject({ kind: "message", remote_id: "$1", text: "hi", revision: "0" });
  const thread = {
    "m.relates_to": { rel_type: "m.thread", event_id: "$0", "m.in_reply_to": { event_id: "$00" } },
  };
  expect(read({ body: "hi", ...thread })).toMatchObject({ thread: "$0", reply_to: "$00" });
  const edit = {
    body: "* hi",
    "m.new_content": { body: "hi" },
    "m.relates_to": { rel_type: "m.replace", event_id: "$0" },
  };
  expect(read(edit)).toMatchObject({
    kind: "edit",
    remote_id: "$0",
    target: "$0",
    revision: "$1",
    text: "hi",
  });
  const file = {
    msgtype: "m.image",
    body: "a.png",
    url: "mxc://ex/1",
    info: { mimetype: "image/png", size: 7 },
  };
  expect(read(file).media).toEqual([
    { kind: "image", name: "a.png", mime: "image/png", bytes: 7, url: "mxc://ex/1" },
  ]);
});

test("irc: a channel is shared and folded, a query is the account's own", () => {
  const said = {
    remote_id: "r1",
    sender_identity: "Al[ce!u@h",
    timestamp: "2026-11-20T10:00:00+00:00",
    body: "hi",
  };
  const shared = of("irc", "inbound_message", { ...said, network: "oftc", channel: "#Link[Span]" });
  expect(shared.conversation).toBe("msgr://channels/w/bridge/irc/oftc/%23link%7Bspan%7D");
  expect(shared.payload).toMatchObject({
    sender: { ref: "msgr://identity/bridges/irc/oftc/al%7Bce", name: "Al[ce" },
    sent_at: "2026-11-20T10:00:00.000Z",
    text: "hi",
  });
  expect(of("irc", "inbound_message", said).conversation).toBe(
    "msgr://channels/w/bridge/irc/libera/~acct/al%7Bce",
  );
  const lifted = of("irc", "inbound_message", said, { metadata: { network: "efnet", channel: "&x" } });
  expect(lifted.conversation).toBe("msgr://channels/w/bridge/irc/efnet/%26x");
});

const stanza = (xml: string) =>
  of("xmpp", "inbound_stanza", {
    stanza: xml,
    format: "xml",
    sender_identity: "bob@ex.org/pc",
    timestamp: "now",
  });

test("xmpp: a room is shared, a chat is the account's own, the body is text", () => {
  const room = stanza(
    "<message from='room@muc.ex/Al &amp; Bo' type='groupchat' id='m1'><body>1 &lt; 2 &#x1F309;</body></message>",
  );
  expect(room.conversation).toBe("msgr://channels/w/bridge/xmpp/room%40muc.ex");
  expect(room.payload).toMatchObject({
    remote_id: "m1",
    text: "1 < 2 🌉",
    sender: { name: "Al & Bo" },
    sent_at: context.occurredAt,
  });
  const chat = stanza('<message from="bob@ex.org/pc" id="m2"><thread>t</thread><body>hi</body></message>');
  expect(chat.conversation).toBe("msgr://channels/w/bridge/xmpp/~acct/bob%40ex.org");
  expect(chat.payload).toMatchObject({ text: "hi", sender: { name: "bob@ex.org" } });
});

test.each([
  [
    "a body that is another element's",
    "<message><forwarded><message><body>no</body></message></forwarded></message>",
  ],
  ["a body with markup", "<message><body>a<b/>c</body></message>"],
  ["a declaration", "<!DOCTYPE x [<!ENTITY a 'b'>]><message><body>&a;</body></message>"],
  ["CDATA", "<message><![CDATA[<body>no</body>]]></message>"],
  ["no message", "<iq><body>no</body></iq>"],
  ["nothing closed", "<message><body>no"],
  ["no XML", "<<<<"],
])("xmpp: no text from %s", (_what, xml) => {
  expect(stanza(xml).payload).not.toHaveProperty("text");
});

test("xmpp: the archive's id wins; without any id the stanza's digest stands in", () => {
  const base = {
    stanza: "hi",
    format: "text",
    sender_identity: "bob@ex.org",
    timestamp: "2026-11-20T10:00:00Z",
  };
  expect(of("xmpp", "inbound_stanza", { ...base, archive_id: "a1" }).payload.remote_id).toBe("a1");
  expect(of("xmpp", "inbound_stanza", base).payload).toMatchObject({
    text: "hi",
    remote_id: expect.stringMatching(/^[\w-]{43}$/) as string,
  });
  const json = {
    ...base,
    format: "json",
    stanza: '{"from":"r@m/n","type":"groupchat","id":"7","body":"yo"}',
  };
  expect(of("xmpp", "inbound_stanza", json).payload).toMatchObject({
    text: "yo",
    remote_id: "7",
    sender: { name: "n" },
  });
});

/** Msgr's answers to link requests: everything in them has its place in the canonical form, or a secret's. */
import { expect, test } from "vitest";
import type { LinkDeclaration } from "../payloads/declaration.ts";
import { isFabricError } from "../errors/errors.ts";
import { toLinkOutcome } from "./link-reply.ts";

const field = (name: string, secret = false) => ({
  name,
  label: name,
  required: false,
  secret,
  syntax: "line" as const,
  max_bytes: 100,
});
const declared = (...fields: LinkDeclaration["fields"]): LinkDeclaration => ({
  name: "Some",
  description: "",
  fields,
});
const context = (service: string, declaration = declared()) => ({
  service,
  workspaceId: "acme",
  account: "a1",
  declaration,
});

test.each([
  ["telegram", { id: 7, username: "ada" }, "user:7", "ada"],
  ["telegram", { id: "user:7", first_name: "Ada", last_name: "L." }, "user:7", "Ada L."],
  ["matrix", { user_id: "@ada:ex.org" }, "@ada:ex.org", "@ada:ex.org"],
  ["xmpp", { jid: "ada@ex.org", display_name: "Ada" }, "ada@ex.org", "Ada"],
  ["irc", {}, "a1", "a1"],
])("%s's user %j is an account", (service, user, remote, name) => {
  const { reply } = toLinkOutcome({ status: "linked", user }, context(service));
  expect(reply).toEqual({ status: "linked", remote, name });
});

test("a homeserver is a setting where it was declared as one, and the session is kept apart", () => {
  const answer = {
    status: "linked",
    user: { id: "@a:b" },
    homeserver: "https://b",
    session: { t: "s" },
  } as const;
  const known = toLinkOutcome(answer, context("matrix", declared(field("homeserver"))));
  expect(known).toMatchObject({ reply: { settings: { homeserver: "https://b" } }, session: { t: "s" } });
  expect(JSON.stringify(known.reply)).not.toContain('"t"');
  expect(toLinkOutcome(answer, context("matrix")).reply).not.toHaveProperty("settings");
});

test("what is asked for is the field that was declared for it, or what the daemon names", () => {
  const form = declared(field("session.code", true), field("password", true));
  const ask = (status: "code_required" | "password_required", more = {}) =>
    toLinkOutcome({ status, ...more }, context("telegram", form));
  expect(ask("code_required", { phone_code_hash: "h" })).toMatchObject({
    reply: { status: "awaiting", step: "code_required", fields: ["session.code"] },
    carried: { phone_code_hash: "h" },
  });
  expect(ask("password_required")).toMatchObject({ reply: { fields: ["password"] }, carried: {} });
  expect(ask("code_required", { fields: ["pin"], message: "The PIN?" }).reply).toMatchObject({
    fields: ["pin"],
    message: "The PIN?",
  });
  try {
    toLinkOutcome({ status: "code_required" }, context("telegram"));
    expect.unreachable();
  } catch (error) {
    expect(isFabricError(error) && error.code).toBe("request.invalid");
  }
});

test("chats and contacts are named as events name them; what has no id, or a longer one than an index holds, is left out", () => {
  const { roster } = toLinkOutcome(
    {
      status: "linked",
      user: { id: 1 },
      contacts: [{ id: 2, name: "Bob" }, { name: "nobody" }, { id: "x".repeat(600) }],
      chats: [
        { id: 3, type: "supergroup", title: "S" },
        { id: 4, type: "group", title: "G" },
        { chat_id: 2, type: "private" },
        { id: 5 },
      ],
    },
    context("telegram"),
  );
  expect(roster.map(({ ref }) => ref)).toEqual([
    "msgr://identity/bridges/telegram/user%3A2",
    "msgr://channels/acme/bridge/telegram/channel%3A3",
    "msgr://channels/acme/bridge/telegram/chat%3A4",
    "msgr://channels/acme/bridge/telegram/~a1/user%3A2",
    "msgr://channels/acme/bridge/telegram/~a1/peer%3A5",
  ]);
});

/**
 * The kind: a setting or a secret that violates the platform's syntax reaches the code that writes to the
 * platform.
 */
import type { LinkDeclaration } from "@linkspan/envelopes";
import { describe, expect, test } from "vitest";
import { StubConnector } from "../testing/stub-connector.ts";
import { eventually, World } from "../testing/world.ts";

const field = { label: "x", required: false, max_bytes: 50 } as const;
const DECLARATION: LinkDeclaration = {
  name: "Stub",
  description: "",
  fields: [
    { ...field, name: "server_password", secret: true, syntax: "line" },
    { ...field, name: "channel_key:*", secret: true, syntax: "word" },
    { ...field, name: "nick", secret: false, syntax: "word" },
  ],
};

class DeclaringConnector extends StubConnector {
  readonly declaration = DECLARATION;
}

const BROKEN: readonly (readonly [string, string, string])[] = [
  ["a line break", "server_password", "hunter2\r\nQUIT"],
  ["NUL", "server_password", "hunter2\0"],
  ["a blank where the platform has words", "channel_key:#k", "hunter 2"],
  ["more bytes than the platform takes", "server_password", "x".repeat(51)],
  ["a setting among the secrets", "nick", "hunter2"],
];

describe("a stored secret that holds", () => {
  test.each(BROKEN)(
    "%s never reaches the connector; its owner reads which field, others are served",
    async (_what, name, value) => {
      await using world = await World.make();
      const { core } = world;
      core.link("bad");
      core.link("good");
      core.vault.credentials.set("bad", { fields: { [name]: Buffer.from(value) }, version: 1 });
      const connector = new DeclaringConnector();
      await world.start(connector);
      await eventually(() =>
        core
          .payloads("bridge_state")
          .some(({ account, state }) => account === "good" && state === "connected"),
      );
      await eventually(() =>
        core
          .payloads("bridge_state")
          .some(
            ({ account, state, code }) =>
              account === "bad" && state === "unconfigured" && code === "request.invalid",
          ),
      );
      expect(connector.opened.map(({ identityId }) => identityId)).toEqual(["good"]);
      expect(JSON.stringify(core.heard)).not.toContain(value.slice(0, 7));
    },
  );

  test.each(BROKEN)("%s is refused when it is linked, with the field's name", async (_what, name, value) => {
    await using world = await World.make();
    const { core } = world;
    core.link("good");
    core.vault.credentials.set("new", { fields: { [name]: Buffer.from(value) }, version: 1 });
    const connector = new DeclaringConnector();
    let linked = 0;
    connector.link = async () => {
      linked += 1;
      return { status: "linked", remote: "r", name: "n" };
    };
    await world.up(connector);
    const ticket = await core.sessionTicket("new");
    const { payload } = await core.request("link_account", { settings: {} }, { identity_id: "new", ticket });
    expect(payload).toMatchObject({ status: "failed", code: "request.invalid" });
    expect(String(payload.message)).toContain(name);
    expect(linked).toBe(0);
  });
});

test("what a connector declares is announced with its capabilities", async () => {
  await using world = await World.make();
  await world.start(new DeclaringConnector());
  await eventually(() => world.core.payloads("capabilities").length > 0);
  expect(world.core.payloads("capabilities")[0]?.link).toEqual(DECLARATION);
});

/**
 * The kind: what a connector's code throws, rejects with or emits, wherever and whenever, ends its own
 * identity's connection, which is opened again, and reaches neither the process nor another identity.
 */
import { FabricError } from "@linkspan/envelopes";
import { afterEach, describe, expect, test } from "vitest";
import type { Connection, IdentityHost, LinkedIdentity } from "../connector.ts";
import { eventOf, lobby, StubConnector } from "../testing/stub-connector.ts";
import { eventually, World } from "../testing/world.ts";

let world: World | undefined;
afterEach(async () => {
  await world?.[Symbol.asyncDispose]();
  world = undefined;
});

const boom = (): never => {
  throw new Error("the connector is broken");
};
const boomLater = (): Promise<never> => Promise.reject(new Error("the connector is broken"));
const none = undefined as never;

/** Two identities: `bad` breaks once, in the given way; `good` must not be affected. */
async function worldWith(connector: StubConnector): Promise<World> {
  world = await World.make();
  world.core.link("good");
  world.core.link("bad");
  // Only the newest state is sent: long enough for that of the failure to be sent before the next one.
  await world.start(connector, { reopen: { minMs: 100, maxMs: 100 } });
  return world;
}

const states = (account: string) =>
  (world as World).core
    .payloads<{ account: string; state: string; code?: string }>("bridge_state")
    .filter((note) => note.account === account);
const isUp = (account: string) => states(account).at(-1)?.state === "connected";

/** Opens as the stub does, with other members on the connection of `bad` while `isBroken`. */
class BreakingConnector extends StubConnector {
  isBroken = true;
  readonly members: Partial<Connection>;
  readonly afterOpen: (host: IdentityHost) => void;

  constructor(members: Partial<Connection>, afterOpen: (host: IdentityHost) => void = () => undefined) {
    super();
    this.members = members;
    this.afterOpen = afterOpen;
  }

  override async open(identity: LinkedIdentity, host: IdentityHost): Promise<Connection> {
    const connection = await super.open(identity, host);
    if (identity.identityId !== "bad" || !this.isBroken) return connection;
    this.afterOpen(host);
    return { ...connection, ...this.members };
  }
}

describe("a failure ends its own connection only, which is opened again:", () => {
  const callbacks: readonly (readonly [string, (host: IdentityHost) => void])[] = [
    ["a guarded callback that throws at once", (host) => host.guard(boom)()],
    ["a guarded callback that rejects", (host) => host.guard(boomLater)()],
    ["a guarded timer", (host) => void setTimeout(host.guard(boom), 1)],
    [
      "a state that no envelope can hold",
      (host) => host.state({ state: "elsewhere" as "connected", message: "x" }),
    ],
    [
      "a state with a time that is none",
      (host) => host.state({ state: "connecting", message: "x", retryAt: new Date(Number.NaN) }),
    ],
    ["a state that is none", (host) => host.state(none)],
    ["a throttle that is none", (host) => host.throttle(none)],
    ["an event that is none, not looked at", (host) => void host.event(none)],
    [
      "another account's event, not looked at",
      (host) => void host.event(eventOf({ identityId: "good" }, "m1", { seq: 1 })),
    ],
  ];

  test.each(callbacks)("%s", async (_name, afterOpen) => {
    const connector = new BreakingConnector({}, (host) => {
      connector.isBroken = false;
      afterOpen(host);
    });
    await worldWith(connector);
    await eventually(() =>
      states("bad").some(({ state, code }) => state === "unknown_error" && code !== undefined),
    );
    await eventually(() => connector.opened.filter(({ identityId }) => identityId === "bad").length === 2);
    await eventually(() => isUp("bad") && isUp("good"));
    expect(connector.closed).toEqual(["bad"]);
    expect(connector.opened.filter(({ identityId }) => identityId === "good")).toHaveLength(1);
    expect(states("good").some(({ state }) => state === "unknown_error")).toBe(false);
  });

  const openings: readonly (readonly [string, () => Promise<void>])[] = [
    ["open that throws at once", boom],
    ["open that rejects", boomLater],
    ["open that gives no connection", async () => none],
    [
      "open that fails with a code of no platform",
      () => Promise.reject(new FabricError("envelope.schema", "x")),
    ],
  ];

  test.each(openings)("%s", async (_name, fail) => {
    let failures = 0;
    const connector = new (class extends StubConnector {
      override open(identity: LinkedIdentity, host: IdentityHost): Promise<Connection> {
        if (identity.identityId === "bad" && ++failures === 1) return fail() as Promise<never>;
        return super.open(identity, host);
      }
    })();
    await worldWith(connector);
    await eventually(() => states("bad").some(({ state }) => state === "unknown_error"));
    await eventually(() => isUp("bad") && isUp("good"));
    expect(failures).toBe(2);
  });
});

describe("what a connection answers wrongly ends in a status, not in a loop:", () => {
  const wrong: readonly (readonly [string, Partial<Connection>, string])[] = [
    ["plan throws", { plan: boom }, "failed"],
    ["plan gives nothing", { plan: () => none }, "failed"],
    [
      "plan gives a part that costs NaN",
      { plan: () => [{ index: 0, data: "", cost: Number.NaN }] },
      "failed",
    ],
    ["plan numbers its parts from one", { plan: () => [{ index: 1, data: "", cost: 1 }] }, "failed"],
    [
      "plan gives more parts than a person writes",
      { plan: () => Array.from({ length: 501 }, (_, index) => ({ index, data: "", cost: 0 })) },
      "failed",
    ],
    ["perform throws at once", { perform: boom }, "uncertain"],
    ["perform rejects", { perform: boomLater }, "uncertain"],
    ["perform gives nothing", { perform: async () => none }, "sent"],
    [
      "perform gives an id and a time that are none",
      { perform: async () => ({ remoteId: 7 as unknown as string, at: new Date(Number.NaN) }) },
      "sent",
    ],
    ["find throws at once", { perform: boom, find: boom }, "uncertain"],
    ["find rejects", { perform: boom, find: boomLater }, "uncertain"],
  ];

  test.each(wrong)("%s", async (_name, members, status) => {
    const connector = new BreakingConnector(members);
    const { core } = await worldWith(connector);
    await eventually(() => isUp("bad") && isUp("good"));
    await core.say("bad", { text: "hello" }, { conversation: lobby() });
    await core.say("good", { text: "hello" }, { conversation: lobby("other") });
    await eventually(() => core.payloads("delivery_status").length === 2);
    const outcomes = core.payloads("delivery_status").map((note) => note.status);
    expect(outcomes).toHaveLength(2);
    expect(outcomes).toEqual(expect.arrayContaining([status, "sent"]));
    expect(connector.performed.filter(({ identityId }) => identityId === "good")).toHaveLength(1);
  });
});

describe("closing goes on:", () => {
  const endings: readonly (readonly [string, () => Promise<void>])[] = [
    ["disposal throws at once", boom],
    ["disposal rejects", boomLater],
  ];
  test.each(endings)("%s", async (_name, dispose) => {
    const connector = new BreakingConnector({ [Symbol.asyncDispose]: dispose });
    const { core } = await worldWith(connector);
    await eventually(() => isUp("bad") && isUp("good"));
    const answer = await core.request("disconnect", { identity_id: "bad" });
    expect(answer.payload).toEqual({ status: "disconnected" });
    expect(isUp("good")).toBe(true);
  });
});

describe("a link that breaks is refused, and disturbs nobody:", () => {
  const links: readonly (readonly [string, (host: IdentityHost) => Promise<never>])[] = [
    ["link throws at once", boom],
    ["link rejects", boomLater],
    [
      "link never ends, and its guarded timer throws",
      (host) => {
        setTimeout(host.guard(boom), 1);
        return new Promise<never>(() => undefined);
      },
    ],
  ];
  test.each(links)("%s", async (_name, link) => {
    const connector = new StubConnector();
    connector.link = (_identity, host) => link(host);
    const { core } = await worldWith(connector);
    await eventually(() => isUp("good"));
    const ticket = await core.sessionTicket("new");
    const { payload } = await core.request("link_account", { settings: {} }, { identity_id: "new", ticket });
    expect(payload).toMatchObject({ status: "failed", code: "internal" });
    expect(isUp("good")).toBe(true);
  });
});

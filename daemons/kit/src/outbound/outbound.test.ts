import { type AttemptRequest, FabricError } from "@linkspan/envelopes";
import { expect, test } from "vitest";
import { UncertainSend } from "../connector.ts";
import { GO } from "../testing/scripted-core.ts";
import { lobby, type Performed, StubConnector } from "../testing/stub-connector.ts";
import { eventually, World } from "../testing/world.ts";

async function worldWith(connector = new StubConnector()) {
  const world = await World.make();
  world.core.link("id-1");
  const running = await world.up(connector);
  return {
    world,
    core: world.core,
    connector,
    running,
    texts: () => connector.performed.map(({ text }) => text),
  };
}

test("an intent is asked for, said once inside its window, and reported before it is settled", async () => {
  const { world, core, connector } = await worldWith();
  await using _ = world;
  const id = await core.say("id-1", { text: "hello" }, { conversation: lobby() });
  expect(core.asked.filter(({ action }) => action === "attempt").map(({ payload }) => payload)).toEqual([
    { intent_id: id, attempt: 1, part: 0, parts: 1 },
  ]);
  expect(connector.performed).toMatchObject([{ text: "hello", key: `${id}.0` }]);
  expect(connector.performed[0]?.window.untilMs).toBeLessThanOrEqual(performance.now() + 10_000);
  expect(core.payloads("delivery_status")).toMatchObject([
    { intent_id: id, attempt: 1, part: 0, parts: 1, status: "sent", remote_id: `r-${id}.0` },
  ]);
  const [status] = core.heard.filter(({ action }) => action === "delivery_status");
  expect(status?.metadata).toMatchObject({
    in_reply_to: id,
    identity_id: "id-1",
    workspace_id: "acme",
    epoch: 1,
  });
});

test("the same delivery again is settled without a word", async () => {
  const { world, core, connector } = await worldWith();
  await using _ = world;
  const id = await core.say("id-1", { text: "hello" }, { key: "k", conversation: lobby() });
  expect(await core.say("id-1", { text: "hello" }, { key: "k", conversation: lobby() })).toBe(id);
  expect(connector.performed).toHaveLength(1);
});

test("a resumed split message begins at the first part that was never attempted", async () => {
  const { world, core, texts } = await worldWith();
  await using _ = world;
  core.decide = ({ part }) => (part < 2 ? { decision: "sent", remote_id: `old-${part}` } : GO);
  await core.say("id-1", { text: "one|two|three|four" }, { attempt: 2, conversation: lobby() });
  expect(texts()).toEqual(["three", "four"]);
  expect(core.payloads("delivery_status")).toMatchObject([
    { attempt: 2, part: 2, parts: 4, status: "sent" },
    { attempt: 2, part: 3, parts: 4, status: "sent" },
  ]);
});

test("stop ends it without a word or a status", async () => {
  const { world, core, connector } = await worldWith();
  await using _ = world;
  core.decide = () => ({ decision: "stop", code: "flag.disabled" });
  await core.say("id-1", { text: "hello" }, { conversation: lobby() });
  expect(connector.performed).toEqual([]);
  expect(core.payloads("delivery_status")).toEqual([]);
});

test("a certain refusal is failed with its code; the parts behind it are not said", async () => {
  const { world, core, connector, texts } = await worldWith();
  await using _ = world;
  connector.onPerform = async ({ text }) => {
    if (text === "two") throw new FabricError("platform.forbidden", "you are muted");
    return { remoteId: "r", at: new Date() };
  };
  await core.say("id-1", { text: "one|two|three" }, { conversation: lobby() });
  expect(texts()).toEqual(["one", "two"]);
  expect(core.payloads("delivery_status")).toMatchObject([
    { part: 0, status: "sent" },
    { part: 1, status: "failed", code: "platform.forbidden" },
  ]);
});

test("what the platform does not offer is failed as unsupported, unasked", async () => {
  const { world, core, connector } = await worldWith();
  await using _ = world;
  connector.onPlan = () => {
    throw new FabricError("platform.unsupported", "no edits here");
  };
  await core.say(
    "id-1",
    { target: "m-1", text: "better" },
    { action: "outbound_edit", conversation: lobby() },
  );
  expect(core.payloads("delivery_status")).toMatchObject([{ status: "failed", code: "action.unsupported" }]);
  expect(core.asked.filter(({ action }) => action === "attempt")).toEqual([]);
});

test("nothing to say is a failure, not silence; a part without an id of the platform gets ours", async () => {
  const { world, core, connector } = await worldWith();
  await using _ = world;
  connector.onPlan = () => [];
  await core.say("id-1", { text: "" }, { conversation: lobby() });
  connector.onPlan = () => [{ index: 0, data: "x", cost: 1 }];
  connector.onPerform = async () => ({ remoteId: "", at: new Date() });
  const id = await core.say("id-1", { text: "x" }, { conversation: lobby() });
  expect(core.payloads("delivery_status")).toMatchObject([
    { status: "failed", code: "request.invalid" },
    { status: "sent", remote_id: `${id}.0` },
  ]);
});

test("in doubt, what is found on the platform was sent; what cannot be looked for is uncertain", async () => {
  for (const findable of [true, false]) {
    const connector = new StubConnector();
    if (findable) connector.find = async (_part, key) => ({ remoteId: `found-${key}`, at: new Date() });
    connector.onPerform = () => Promise.reject(new UncertainSend("no echo came"));
    const { world, core } = await worldWith(connector);
    await using _ = world;
    const id = await core.say("id-1", { text: "hello" }, { conversation: lobby() });
    expect(connector.performed).toHaveLength(1);
    expect(core.payloads("delivery_status")).toMatchObject([
      findable
        ? { status: "sent", remote_id: `found-${id}.0` }
        : { status: "uncertain", code: "send.uncertain" },
    ]);
  }
});

test("absence is believed only when the window is over; then it is put off, not said again", async () => {
  const connector = new StubConnector();
  const looks: number[] = [];
  connector.find = async () => {
    looks.push(performance.now());
    return undefined;
  };
  connector.onPerform = () => Promise.reject(new UncertainSend("the connection broke"));
  const { world, core } = await worldWith(connector);
  await using _ = world;
  core.decide = () => ({ decision: "go", window_ms: 400 });
  await core.say("id-1", { text: "hello" }, { conversation: lobby() });
  expect(connector.performed).toHaveLength(1);
  const window = connector.performed[0]?.window.untilMs ?? 0;
  expect(looks).toHaveLength(2);
  expect(looks[1]).toBeGreaterThan(window);
  expect(core.payloads("deferred")).toMatchObject([{ attempt: 1, reason: "platform.unavailable" }]);
});

test("an unknown error of the connector is doubt, not a failure", async () => {
  const { world, core, connector } = await worldWith();
  await using _ = world;
  connector.onPerform = () => Promise.reject(new TypeError("undefined is not a function"));
  await core.say("id-1", { text: "hello" }, { conversation: lobby() });
  expect(core.payloads("delivery_status")).toMatchObject([{ status: "uncertain" }]);
});

test("asked again about a part it said itself, a process remembers; it never says it again", async () => {
  const { world, core, connector } = await worldWith();
  await using _ = world;
  const id = await core.say("id-1", { text: "hello" }, { key: "k", conversation: lobby() });
  for (const [attempt, decision] of [
    [2, "uncertain"],
    [3, "go"],
  ] as const) {
    core.decide = () => ({ decision, window_ms: 10_000 });
    await core.say("id-1", { text: "hello" }, { key: "k", attempt, conversation: lobby() });
  }
  expect(connector.performed).toHaveLength(1);
  expect(core.payloads("delivery_status")).toMatchObject([
    { attempt: 1, status: "sent", remote_id: `r-${id}.0` },
    { attempt: 2, status: "sent", remote_id: `r-${id}.0` },
    { attempt: 3, status: "sent", remote_id: `r-${id}.0` },
  ]);
});

test("uncertain of another process's part: found, it was sent; not found, it stays uncertain", async () => {
  for (const found of [true, false]) {
    const connector = new StubConnector();
    connector.find = async () => (found ? { remoteId: "old", at: new Date() } : undefined);
    const { world, core } = await worldWith(connector);
    await using _ = world;
    core.decide = () => ({ decision: "uncertain" });
    await core.say("id-1", { text: "hello" }, { attempt: 2, conversation: lobby() });
    expect(connector.performed).toEqual([]);
    expect(core.payloads("delivery_status")).toMatchObject([
      found ? { status: "sent", remote_id: "old" } : { status: "uncertain" },
    ]);
  }
});

test("in doubt about a part that this process did not say: put off it waits again, refused it fails again", async () => {
  for (const [error, memory] of [
    [new FabricError("platform.rate_limited", "slowly", { retryAfterMs: 60_000 }), "put off"],
    [new FabricError("platform.forbidden", "you are muted"), "refused"],
  ] as const) {
    const { world, core, connector } = await worldWith();
    await using _ = world;
    connector.onPerform = () => Promise.reject(error);
    await core.say("id-1", { text: "hello" }, { key: "k", conversation: lobby() });
    core.decide = () => ({ decision: "uncertain" });
    await core.say("id-1", { text: "hello" }, { key: "k", attempt: 2, conversation: lobby() });
    expect(connector.performed).toHaveLength(1);
    const said = {
      deferred: core.payloads("deferred"),
      statuses: core.payloads("delivery_status"),
    };
    if (memory === "put off")
      expect(said).toMatchObject({
        statuses: [],
        deferred: [{ attempt: 1 }, { attempt: 2, reason: "platform.rate_limited" }],
      });
    else
      expect(said).toMatchObject({
        deferred: [],
        statuses: [
          { attempt: 1, status: "failed" },
          { attempt: 2, status: "failed", code: "platform.forbidden" },
        ],
      });
  }
});

test("what fails for now is tried again inside its window, and put off beyond it", async () => {
  const { world, core, connector } = await worldWith();
  await using _ = world;
  let tries = 0;
  connector.onPerform = async () => {
    if (++tries === 1) throw new FabricError("platform.rate_limited", "slowly", { retryAfterMs: 10 });
    return { remoteId: "r", at: new Date() };
  };
  await core.say("id-1", { text: "hello" }, { conversation: lobby() });
  expect(core.payloads("delivery_status")).toMatchObject([{ status: "sent" }]);

  connector.onPerform = async () => {
    throw new FabricError("platform.rate_limited", "much more slowly", { retryAfterMs: 60_000 });
  };
  const before = Date.now();
  await core.say("id-1", { text: "again" }, { conversation: lobby() });
  const [deferred] = core.payloads<{ until: string }>("deferred");
  expect(Date.parse(deferred?.until ?? "")).toBeGreaterThanOrEqual(before + 60_000);
});

test("a lost answer is asked for again with the same question, and the window counts from the first", async () => {
  const { world, core, connector } = await worldWith();
  await using _ = world;
  let asked = 0;
  core.decide = () => {
    if (++asked < 3) throw new FabricError("store.unavailable", "the database is away");
    return GO;
  };
  const startedMs = performance.now();
  await core.say("id-1", { text: "hello" }, { conversation: lobby() });
  const questions = core.asked.filter(({ action }) => action === "attempt");
  expect(new Set(questions.map(({ metadata }) => metadata.message_id)).size).toBe(1);
  expect(questions).toHaveLength(3);
  expect(connector.performed[0]?.window.untilMs).toBeLessThan(startedMs + 10_000);
});

test("an identity that is away defers; a login that only its owner can mend fails", async () => {
  const { world, core, connector } = await worldWith();
  await using _ = world;
  connector.host("id-1").state({ state: "transient_disconnect", message: "Away." });
  await core.say("id-1", { text: "hello" }, { conversation: lobby() });
  await core.say("nobody", { text: "hello" }, { conversation: lobby() });
  connector.host("id-1").state({ state: "bad_credentials", message: "Sign in again." });
  await core.say("id-1", { text: "hello" }, { conversation: lobby() });
  expect(core.payloads("deferred")).toMatchObject([
    { reason: "platform.unavailable" },
    { reason: "platform.unavailable" },
  ]);
  expect(core.payloads("delivery_status")).toMatchObject([
    { status: "failed", code: "platform.auth_expired" },
  ]);
  expect(core.asked.filter(({ action }) => action === "attempt")).toEqual([]);
});

test("the pace is kept: a short wait is waited, a long one is the core's", async () => {
  const connector = new StubConnector();
  connector.capabilities = { ...connector.capabilities, pace: { perSecond: 5, burst: 1 } };
  connector.onPlan = ({ payload }) => [
    { index: 0, data: payload.text, cost: payload.text === "dear" ? 100 : 1 },
  ];
  const { world, core } = await worldWith(connector);
  await using _ = world;
  const times: number[] = [];
  connector.onPerform = async () => {
    times.push(performance.now());
    return { remoteId: "r", at: new Date() };
  };
  await core.say("id-1", { text: "one" }, { conversation: lobby("a") });
  await core.say("id-1", { text: "two" }, { conversation: lobby("b") });
  expect((times[1] ?? 0) - (times[0] ?? 0)).toBeGreaterThan(150);
});

test("a ticket for something else is refused before anything happens", async () => {
  const { world, core, connector } = await worldWith();
  await using _ = world;
  const wrong = [
    [{ aud: "daemon:echo:other" }, "ticket.wrong_audience"],
    [{ cnf: "A".repeat(43) }, "ticket.wrong_audience"],
    [{ identity_id: "id-2" }, "ticket.wrong_destination"],
    [{ workspace_id: "other" }, "ticket.wrong_destination"],
    [{ conversation: lobby("elsewhere") }, "ticket.wrong_destination"],
    [{ intent_hash: "A".repeat(43) }, "ticket.wrong_destination"],
    [{ actions: ["outbound_edit"] }, "ticket.wrong_destination"],
  ] as const;
  for (const [claims, code] of wrong) {
    await expect(
      core.say("id-1", { text: "hello" }, { claims, conversation: lobby() }),
    ).rejects.toMatchObject({ code });
    expect(core.payloads("delivery_status").at(-1)).toMatchObject({ status: "failed", code });
  }
  const past = Math.floor(Date.now() / 1_000) - 600;
  await core.say(
    "id-1",
    { text: "hello" },
    {
      claims: { iat: past, nbf: past, exp: past + 60 },
      attempt: 4,
      conversation: lobby(),
    },
  );
  expect(core.payloads("deferred")).toMatchObject([{ attempt: 4, reason: "ticket.expired" }]);
  expect(connector.performed).toEqual([]);
});

test("an intent does not fail because a clock is wrong: a ticket that is not valid yet is put off", async () => {
  const { world, core, connector } = await worldWith();
  await using _ = world;
  const ahead = Math.floor(Date.now() / 1_000) + 3_600;
  const claims = { iat: ahead, nbf: ahead, exp: ahead + 60 };
  await core.say("id-1", { text: "hello" }, { claims, attempt: 2, conversation: lobby() });
  expect(core.payloads("delivery_status")).toEqual([]);
  expect(core.payloads("deferred")).toMatchObject([{ attempt: 2, reason: "ticket.invalid" }]);
  expect(Date.parse(String(core.payloads("deferred")[0]?.until)) - Date.now()).toBeLessThanOrEqual(5_000);
  expect(connector.performed).toEqual([]);
});

test("one conversation is said in order, one at a time; others and acks do not wait for a slow one", async () => {
  const { world, core, connector, texts } = await worldWith();
  await using _ = world;
  const slow = Promise.withResolvers<void>();
  let speaking = 0;
  connector.onPerform = async ({ text }: Performed) => {
    speaking += 1;
    if (text === "slow 1") await slow.promise;
    speaking -= 1;
    if (text.startsWith("slow")) expect(speaking).toBe(0);
    return { remoteId: text, at: new Date() };
  };
  const held = [1, 2, 3].map((n) => core.say("id-1", { text: `slow ${n}` }, { conversation: lobby("slow") }));
  await eventually(() => texts().includes("slow 1"));
  for (let n = 0; n < 8; n++)
    await core.say("id-1", { text: `quick ${n}` }, { conversation: lobby(`quick-${n}`) });
  expect(texts().filter((text) => text.startsWith("slow"))).toEqual(["slow 1"]);
  slow.resolve();
  await Promise.all(held);
  expect(texts().filter((text) => text.startsWith("slow"))).toEqual(["slow 1", "slow 2", "slow 3"]);
});

test("a lease lost in the middle of a send says nothing of it; the next holder asks and finds out", async () => {
  const connector = new StubConnector();
  const { world, core } = await worldWith(connector);
  await using _ = world;
  core.lease.ttlMs = 600;
  const granted = new Set<string>();
  core.decide = ({ intent_id, part }: AttemptRequest) => {
    const key = `${intent_id}.${part}`;
    if (granted.has(key)) return { decision: "uncertain" };
    granted.add(key);
    return GO;
  };
  let windowClosed = false;
  connector.onPerform = ({ window }) =>
    new Promise((_resolve, reject) => {
      window.signal.addEventListener("abort", () => {
        windowClosed = true;
        reject(new UncertainSend("cut off"));
      });
    });
  const saying = core.say("id-1", { text: "hello" }, { conversation: lobby() });
  await eventually(() => connector.performed.length === 1);
  core.lease.seize();
  await eventually(() => windowClosed);
  await saying;
  expect(connector.performed).toHaveLength(1);
  const statuses = core.heard.filter(({ action }) => action === "delivery_status");
  expect(statuses).toMatchObject([{ payload: { status: "uncertain" }, metadata: { epoch: 3 } }]);
});

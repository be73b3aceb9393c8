/** Questions and statuses of many intents at the same moment: shared on the wire, each for itself in its effect. */
import { type AttemptRequest, FabricError, intentId } from "@linkspan/envelopes";
import fc from "fast-check";
import { expect, test } from "vitest";
import { signsBatches, takesMany } from "../bus/core-version.ts";
import { GO, WORKSPACE } from "../testing/scripted-core.ts";
import { lobby, StubConnector } from "../testing/stub-connector.ts";
import { World } from "../testing/world.ts";

const TEXTS = Array.from({ length: 24 }, (_, n) => `text ${n}`);

async function worldWith(prepare: (world: World) => void = () => undefined) {
  const world = await World.make();
  prepare(world);
  world.core.link("id-1");
  world.core.link("id-2");
  const connector = new StubConnector();
  await world.up(connector);
  const { core } = world;
  const sayAll = (texts: readonly string[]) =>
    Promise.all(
      texts.map((text, n) =>
        core.say(`id-${(n % 2) + 1}`, { text }, { key: `key ${n}`, conversation: lobby(`room-${n}`) }),
      ),
    );
  return { world, core, connector, sayAll };
}

const sizesOf = (core: World["core"]) =>
  core.asked
    .filter(({ action }) => action === "attempt")
    .map(({ payload }) => ("asks" in payload ? (payload.asks as unknown[]).length : 1));

test("parts that ask at the same moment share a request, and their statuses an envelope", async () => {
  const { world, core, connector, sayAll } = await worldWith();
  await using _ = world;
  const ids = await sayAll(TEXTS);
  expect(connector.performed.map(({ text }) => text).toSorted()).toEqual(TEXTS.toSorted());
  expect(core.asks.map((ask) => ask.intent_id).toSorted()).toEqual(ids.toSorted());
  expect(core.statuses.map((one) => one.intent_id).toSorted()).toEqual(ids.toSorted());
  expect(core.statuses.every(({ status }) => status === "sent")).toBe(true);
  expect(sizesOf(core)[0]).toBe(1);
  expect(Math.max(...sizesOf(core))).toBeGreaterThan(1);
  const together = core.heard.filter(({ action }) => action === "delivery_statuses");
  expect(together.length).toBeGreaterThan(0);
  for (const { metadata, payload } of together) {
    const statuses = payload.statuses as { identity_id: string; message_id: string }[];
    expect(statuses.map((one) => one.identity_id)).toContain(metadata.identity_id);
    expect(metadata.workspace_id).toBe(WORKSPACE);
  }
});

test.each([
  ["tells that it is older", (world: World) => void (world.core.version = "0.1.0")],
  ["does not know the form that it announced", (world: World) => void (world.core.takesMany = false)],
])("a core that %s is asked one by one", async (_what, prepare) => {
  const { world, core, connector, sayAll } = await worldWith(prepare);
  await using _ = world;
  await sayAll(TEXTS);
  expect(connector.performed).toHaveLength(TEXTS.length);
  // The form is tried once at most.
  expect(sizesOf(core).filter((size) => size > 1).length).toBeLessThanOrEqual(1);
  if (core.version === "0.1.0") {
    expect(core.heard.filter(({ action }) => action === "delivery_statuses")).toEqual([]);
    expect(Math.max(...sizesOf(core))).toBe(1);
  }
  expect(core.statuses).toHaveLength(TEXTS.length);
});

test("what each is answered among others is what it is answered alone, whatever the others are", async () => {
  const kinds = fc.array(fc.constantFrom("go", "stop", "sent", "uncertain", "away once"), {
    minLength: 2,
    maxLength: 16,
  });
  /** What is said and told when the parts are answered so. */
  async function endOf(decisions: readonly string[], version: string): Promise<unknown> {
    const { world, core, connector, sayAll } = await worldWith(({ core: fresh }) => {
      fresh.version = version;
    });
    await using _ = world;
    const kindOf = new Map(decisions.map((kind, n) => [intentId(WORKSPACE, `key ${n}`), kind]));
    const away = new Set<string>();
    core.decide = ({ intent_id }: AttemptRequest) => {
      const kind = kindOf.get(intent_id) ?? "go";
      if (kind !== "away once") return kind === "go" ? GO : { decision: kind as "stop" };
      if (away.has(intent_id)) return GO;
      away.add(intent_id);
      throw new FabricError("store.unavailable", "the database is away");
    };
    await sayAll(decisions.map((_kind, n) => `text ${n}`));
    return {
      said: connector.performed.map(({ key }) => key).toSorted(),
      told: core.statuses.map((one) => `${one.intent_id} ${one.status}`).toSorted(),
    };
  }
  await fc.assert(
    fc.asyncProperty(kinds, async (decisions) => {
      expect(await endOf(decisions, "0.2.0")).toEqual(await endOf(decisions, "0.1.0"));
    }),
    { numRuns: 8 },
  );
}, 60_000);

test("a lost answer is asked for again with the same bytes, and nobody else waits for it", async () => {
  const { world, core, connector, sayAll } = await worldWith();
  await using _ = world;
  let failures = 0;
  core.decide = () => {
    if (failures++ === 0) throw new FabricError("store.unavailable", "the database is away");
    return GO;
  };
  await sayAll(TEXTS);
  const names = core.asked.filter(({ action }) => action === "attempt").map((one) => one.metadata.message_id);
  expect(new Set(names).size).toBe(names.length - 1);
  expect(connector.performed).toHaveLength(TEXTS.length);
});

test.each([
  ["0.1.0", false],
  ["0.2.0", true],
  ["0.10.3", true],
  ["1.0.0", true],
  ["test", false],
  [undefined, false],
])("a core of version %s takes many: %s", (version, many) => {
  expect(takesMany(version)).toBe(many);
  expect(signsBatches(version)).toBe(many && version !== "0.2.0");
});

test.each([
  ["0.1.0", undefined],
  ["0.2.0", undefined],
  ["0.3.0", ["attempt", "delivery_status", "signed_batches"]],
])("a core of version %s is told only what it can read: %s", async (version, knows) => {
  await using world = await World.make();
  world.core.version = version;
  await world.up(new StubConnector());
  const [told, ...others] = world.core.payloads("capabilities");
  expect(told?.capabilities).toBeDefined();
  expect(told?.knows).toEqual(knows);
  expect(others).toEqual([]);
});

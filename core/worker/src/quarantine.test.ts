import { FabricError } from "@linkspan/envelopes";
import { type Bus, EmbeddedBroker } from "@linkspan/fabric";
import { expect, test } from "vitest";
import type { Core } from "./core.ts";
import { startDeadLetterReader } from "./quarantine.ts";

const ROUTE = { service: "irc", instance: "primary", action: "inbound_event", partition: 0 };

/** Rows of a database that refuses some of them; a transaction stores all of its rows or none. */
function database(refuses: (values: readonly unknown[]) => FabricError | undefined) {
  const kept: (readonly unknown[])[] = [];
  const transaction = async (work: (client: unknown) => Promise<void>): Promise<void> => {
    const rows: (readonly unknown[])[] = [];
    await work({
      async query({ values }: { readonly values: readonly unknown[] }) {
        const error = refuses(values);
        if (error !== undefined) throw error;
        rows.push(values);
        return { rows: [{ id: "1" }] };
      },
    });
    kept.push(...rows);
  };
  return { kept, transaction };
}

async function reading(bus: Bus, rows: ReturnType<typeof database>) {
  const logged: Record<string, unknown>[] = [];
  const core = {
    bus,
    database: rows,
    metrics: { quarantined: () => undefined },
    log: { error: (line: Record<string, unknown>) => logged.push(line) },
  } as unknown as Core;
  return { logged, subscription: await startDeadLetterReader(core) };
}

async function deadLetters(bus: Bus, ids: readonly string[]): Promise<void> {
  const queue = { name: "irc.work", kind: "shared" as const, bindings: [{ service: "irc" }] };
  await bus.declare([queue]);
  await using _subscription = await bus.subscribe(queue, {
    handle: async (batch) => batch.map(() => ({ do: "dead", code: "envelope.schema", detail: "a\0b\ud800" })),
  });
  await Promise.all(
    ids.map((messageId) => bus.publish({ route: ROUTE, body: Buffer.from(messageId), messageId })),
  );
}

const holds = (values: readonly unknown[], text: string): boolean =>
  values.some((value) => (Buffer.isBuffer(value) ? value.toString() : value) === text);

test("a dead letter that the database cannot hold costs its own row only, and leaves one that says so", async () => {
  const bus = new EmbeddedBroker().connect("core");
  const rows = database((values) =>
    holds(values, "bad") ? new FabricError("store.rejected", "22021") : undefined,
  );
  const { logged, subscription } = await reading(bus, rows);
  await deadLetters(bus, ["1", "bad", "2", "3"]);
  await subscription.drain();
  for (const id of ["1", "2", "3"]) expect(rows.kept.filter((values) => holds(values, id))).toHaveLength(1);
  expect(rows.kept).toHaveLength(4);
  const texts = rows.kept.flat().filter((value) => typeof value === "string");
  expect(texts.some((text) => text.startsWith("not kept as it came (3 bytes, SHA-256 "))).toBe(true);
  for (const text of texts) expect(text).not.toMatch(/[\0\ud800]/u);
  expect(logged).toMatchObject([{ event: "dead_letter.not_kept", code: "envelope.schema", bytes: 3 }]);
  await bus[Symbol.asyncDispose]();
});

test("a dead letter of which the database can hold nothing is told and let go", async () => {
  const bus = new EmbeddedBroker().connect("core");
  let refused = 0;
  const rows = database((values) => {
    const isBad = values.some((value) => value === "envelope.schema") && refused < 5;
    if (isBad) refused++;
    return isBad ? new FabricError("store.rejected", "22021") : undefined;
  });
  const { logged, subscription } = await reading(bus, rows);
  await deadLetters(bus, ["1"]);
  await subscription.drain();
  expect(logged).toHaveLength(1);
  await bus[Symbol.asyncDispose]();
});

test("a database that is away keeps dead letters where they are until it is back", async () => {
  const bus = new EmbeddedBroker().connect("core");
  let failures = 0;
  const rows = database(() => (++failures < 4 ? new FabricError("store.unavailable", "down") : undefined));
  const { logged, subscription } = await reading(bus, rows);
  await deadLetters(bus, ["1"]);
  await subscription.drain();
  expect([rows.kept.length, logged]).toEqual([1, []]);
  await bus[Symbol.asyncDispose]();
});

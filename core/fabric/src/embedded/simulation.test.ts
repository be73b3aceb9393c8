/**
 * The embedded bus under seeded faults in virtual time: connections drop, messages come twice and late,
 * handlers fail, a consumer is killed. Whatever happens: what was confirmed had its effect or is a dead letter,
 * and the first effects of each key are in the order of publication.
 */
import { FabricError } from "@linkspan/envelopes";
import { expect, test } from "vitest";
import {
  ACK,
  DEAD_LETTERS,
  type Decision,
  type Outgoing,
  type Prepared,
  type QueueSpec,
  type Verdict,
} from "../bus.ts";
import { seededRandom, VirtualClock } from "../virtual-clock.ts";
import { EmbeddedBroker } from "./broker.ts";
import { randomFaults } from "./faults.ts";

const SEEDS = Number(process.env["LINKSPAN_SEEDS"] ?? 150);
const KEYS = 4;
const EACH = 12;
const QUEUE: QueueSpec = { name: "q.p00", kind: "partition", bindings: [{ service: "irc" }] };

interface Outcome {
  readonly effects: string[];
  readonly confirmed: string[];
  readonly deadLettered: string[];
  readonly refused: string[];
  readonly poison: string;
  readonly overlapped: boolean;
  readonly finished: boolean;
}

async function simulate(seed: number): Promise<Outcome> {
  const clock = new VirtualClock(seed);
  const random = seededRandom(seed + 1);
  const rates = { wireMs: 5, deliverMs: 5, duplicate: 0.05, drop: 0.02 };
  const broker = new EmbeddedBroker({ clock, random, faults: randomFaults(seededRandom(seed + 2), rates) });
  const poison = `${Math.floor(random() * KEYS)}:${Math.floor(random() * EACH)}`;
  const effects: string[] = [];
  const confirmed: string[] = [];
  const deadLettered: string[] = [];
  const refused: string[] = [];
  let overlapped = false;

  const decideLater = async (id: string): Promise<Decision> => {
    await wait(clock, random() * 40);
    if (random() < 0.1) throw new FabricError("store.unavailable", "outage");
    if (random() < 0.1) return { do: "retry", afterMs: random() * 50 };
    effects.push(id);
    return ACK;
  };
  const handler = () => {
    let running = 0;
    return {
      keyOf: ({ delivery }: Prepared<undefined>) => keyOf(delivery.messageId ?? ""),
      prepare: async (batch: readonly unknown[]) => {
        await wait(clock, random() * 3);
        return batch.map(() => undefined);
      },
      async handle(batch: readonly Prepared<undefined>[]): Promise<Verdict[]> {
        overlapped ||= ++running > 1;
        await wait(clock, random() * 10);
        running--;
        const named = batch.map(({ delivery }) => delivery.messageId ?? "");
        if (named.includes(poison)) throw new FabricError("envelope.schema", "poison");
        if (random() < 0.1) throw new FabricError("store.unavailable", "outage");
        const held = new Set<string>();
        return named.map((id) => {
          if (held.has(keyOf(id))) return { do: "retry", afterMs: random() * 50 };
          if (random() < 0.1) {
            held.add(keyOf(id));
            return { do: "retry", afterMs: random() * 50 };
          }
          if (random() < 0.2) {
            held.add(keyOf(id));
            return { do: "later", decision: decideLater(id) };
          }
          effects.push(id);
          return ACK;
        });
      },
    };
  };

  const [publisher, first, second, keeper] = ["irc", "core", "core", "core"].map((name) =>
    broker.connect(name),
  );
  if (!publisher || !first || !second || !keeper) throw new Error("no clients");
  broker.declare([QUEUE]);
  await keeper.subscribe(DEAD_LETTERS, {
    async handle(batch) {
      for (const { delivery } of batch) deadLettered.push(delivery.messageId ?? "");
      return batch.map(() => ACK);
    },
  });
  await first.subscribe(QUEUE, handler(), { maxBatch: 5, maxInFlight: 20 });
  await second.subscribe(QUEUE, handler(), { maxBatch: 5, maxInFlight: 20 });
  clock.after(random() * 500, () => first.kill());
  let open = KEYS * EACH;
  for (let at = 0; at < EACH; at++) {
    for (let key = 0; key < KEYS; key++) {
      const id = `${key}:${at}`;
      publisher.publish(message(id)).then(
        () => {
          open--;
          confirmed.push(id);
        },
        (error: unknown) => {
          open--;
          refused.push(`${id} ${error instanceof FabricError ? error.code : String(error)}`);
        },
      );
    }
  }
  const finished = await clock.run({ until: () => open === 0 });
  return { effects, confirmed, deadLettered, refused, poison, overlapped, finished };
}

test(`nothing confirmed is lost and no key is reordered, over ${SEEDS} seeds`, async () => {
  for (let seed = 1; seed <= SEEDS; seed++) {
    const { effects, confirmed, deadLettered, refused, poison, overlapped, finished } = await simulate(seed);
    const label = `seed ${seed}`;
    expect(finished, label).toBe(true);
    expect(overlapped, label).toBe(false);
    // Its publisher learns of the death when the dead letters have just lost their consumer.
    const known = refused.length === 0 ? [...new Set(deadLettered)] : refused;
    expect([`${poison} envelope.schema`, poison], label).toContain(known.join());
    expect(confirmed.length + refused.length, label).toBe(KEYS * EACH);
    for (let key = 0; key < KEYS; key++) {
      const expected = Array.from({ length: EACH }, (_, at) => `${key}:${at}`).filter((id) => id !== poison);
      const seen = effects.filter((id) => keyOf(id) === String(key));
      expect([...new Set(seen)], label).toEqual(expected);
    }
  }
});

test("one seed is one history", async () => {
  expect(await simulate(7)).toEqual(await simulate(7));
});

function keyOf(id: string): string {
  return id.split(":")[0] ?? "";
}

function message(id: string): Outgoing {
  return {
    route: { service: "irc", instance: "primary", action: "inbound_event", partition: 0 },
    body: Buffer.from(id),
    messageId: id,
  };
}

function wait(clock: VirtualClock, afterMs: number): Promise<void> {
  return new Promise((resolve) => {
    clock.after(afterMs, resolve);
  });
}

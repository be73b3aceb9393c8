import { FabricError } from "@linkspan/envelopes";
import { expect, test } from "vitest";
import { Asks, type AsksOptions } from "./asks.ts";
import { Memory, type Outcome } from "./memory.ts";
import { Pace } from "./pace.ts";
import { type PartContext, sayPart } from "./part.ts";

const said: Outcome = { kind: "said", said: { remoteId: "r", at: new Date(0) } };

test.each([
  ["said", said],
  ["touched", { kind: "doubtful" } as const],
  ["refused", { kind: "refused", code: "platform.forbidden" } as const],
])("a core that does not answer leaves what is known of a part as it is: %s", async (_name, known) => {
  const memory = new Memory();
  memory.remember("key", known);
  let now = 0;
  const context = {
    memory,
    key: "key",
    attempt: 2,
    pace: new Pace({ perSecond: 1, burst: 1 }, () => now),
    connection: () => ({}),
    signal: new AbortController().signal,
    clock: { monotonicMs: () => now, sleep: (ms: number) => Promise.resolve(void (now += ms)) },
  };
  const calls = {
    question: () => ({}),
    ask: () => {
      now += 5_000;
      return Promise.reject(new FabricError("bus.timeout", "no answer"));
    },
  };
  const asks = new Asks({ ...context, calls, takesMany: () => true } as unknown as AsksOptions);
  const part = { index: 0, cost: 1 } as Parameters<typeof sayPart>[0];
  const end = await sayPart(part, { ...context, asks } as unknown as PartContext);
  expect(end).toMatchObject(known.kind === "said" ? known : { kind: "later", code: "bus.timeout" });
  expect(memory.recall("key")).toEqual(known);
});

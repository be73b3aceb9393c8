/** The interface between the cases of the bus contract and a driver. */
import { isFabricError } from "@linkspan/envelopes";
import { expect } from "vitest";
import { ACK, type Bus, type Delivery, type Outgoing, type QueueSpec, type Verdict } from "../bus.ts";
import type { Handler, Prepared } from "../bus.ts";

/** One broker, and clients of it as other processes would be. */
export interface BusHarness extends AsyncDisposable {
  /** A new client; it tries a lone message no more than three times, and within milliseconds. */
  connect(service: string): Promise<Bus>;
  /** Breaks its connections as a network does; it comes back by itself. Resolves once it knows. */
  cut(bus: Bus): Promise<void>;
  /** It settles and sends nothing more, from now on. Resolves once the broker knows. */
  crash(bus: Bus): Promise<void>;
  /** Everything that exists on behalf of this harness's clients. */
  leftovers(): Promise<{
    /** Set in the clients' clocks. */
    readonly timers: number;
    readonly consumers: number;
    readonly queues: number;
    /** Zero where there is no such thing. */
    readonly channels: number;
    readonly connections: number;
  }>;
  /** How long a condition may take; default 5,000. */
  readonly patienceMs?: number;
}

export type BusCase = (harness: BusHarness) => Promise<void>;

export const QUEUE: QueueSpec = {
  name: "irc.work.p00",
  kind: "partition",
  bindings: [{ service: "irc", partition: 0 }],
};

export function message(id: string, rest: Partial<Outgoing> = {}): Outgoing {
  return {
    route: { service: "irc", instance: "primary", action: "inbound_event", partition: 0 },
    body: Buffer.from(`body of ${id}`),
    messageId: id,
    ...rest,
  };
}

export function ids(count: number, prefix = ""): string[] {
  return Array.from({ length: count }, (_, at) => `${prefix}${at}`);
}

/** Publishes all at once, in order, without waiting in between. */
export async function publishAll(bus: Bus, named: readonly string[]): Promise<void> {
  await Promise.all(named.map((id) => bus.publish(message(id))));
}

/** Lets a publish be awaited later without an unhandled rejection meanwhile. */
export function outcome(publish: Promise<unknown>): Promise<string> {
  return publish.then(
    () => "confirmed",
    (error: unknown) => (isFabricError(error) ? error.code : String(error)),
  );
}

/** Asks until it holds. */
export async function eventually(harness: BusHarness, what: string, check: () => boolean): Promise<void> {
  const deadline = performance.now() + (harness.patienceMs ?? 5_000);
  while (!check()) {
    if (performance.now() > deadline) expect.fail(`waited in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

const PROBE: QueueSpec = { name: "probe", kind: "transient", bindings: [{ service: "probe" }] };

/** Once to the broker and back: what this client did before has had its effect by now. */
export async function roundTrip(harness: BusHarness, bus: Bus): Promise<void> {
  const seen = recorder();
  const subscription = await bus.subscribe(PROBE, seen);
  await bus.publish(message("probe", { route: { ...message("").route, service: "probe" } }));
  await eventually(harness, "the probe comes back", () => seen.deliveries.length === 1);
  await subscription.drain();
}

/** A handler that keeps what it saw, in order, and answers as told. */
export interface Recorder extends Handler<undefined> {
  readonly deliveries: Delivery[];
  readonly batches: string[][];
  readonly ids: string[];
}

export function recorder(
  decide: (delivery: Delivery, batch: readonly Prepared<undefined>[]) => Verdict = () => ACK,
  rest: Partial<Handler<undefined>> = {},
): Recorder {
  const deliveries: Delivery[] = [];
  const batches: string[][] = [];
  return {
    deliveries,
    batches,
    get ids() {
      return deliveries.map((delivery) => delivery.messageId ?? "");
    },
    async handle(batch) {
      batches.push(batch.map(({ delivery }) => delivery.messageId ?? ""));
      deliveries.push(...batch.map(({ delivery }) => ({ ...delivery })));
      return batch.map(({ delivery }) => decide(delivery, batch));
    },
    ...rest,
  };
}

/** A handler that waits in its first batch until it is let go. */
export interface Gate {
  readonly handler: Recorder;
  /** Resolves when the first batch is in the handler. */
  readonly entered: Promise<void>;
  open(): void;
}

export function gated(): Gate {
  const entered = Promise.withResolvers<void>();
  const opened = Promise.withResolvers<void>();
  const inner = recorder();
  const handler: Recorder = {
    deliveries: inner.deliveries,
    batches: inner.batches,
    get ids() {
      return inner.ids;
    },
    async handle(batch) {
      const verdicts = inner.handle(batch);
      entered.resolve();
      await opened.promise;
      return verdicts;
    },
  };
  return { handler, entered: entered.promise, open: () => opened.resolve() };
}

/** The first occurrences: what is left when duplicates are dropped. */
export function unique(all: readonly string[]): string[] {
  return [...new Set(all)];
}

import {
  type Attributes,
  type Link,
  metrics,
  type SpanOptions,
  type Tracer,
  trace,
} from "@opentelemetry/api";
import { FabricError } from "@linkspan/envelopes";
import { afterEach, beforeEach, expect, test } from "vitest";
import { ACK, type Outgoing, type Prepared, type Verdict } from "./bus.ts";
import { BusTelemetry } from "./telemetry.ts";
import { formatTraceparent, parseTraceparent } from "./traceparent.ts";

const TRACE = "0af7651916cd43dd8448eb211c80319c";
const SPAN = "b7ad6b7169203331";
const GIVEN = `00-${TRACE}-${SPAN}-01`;

interface Started {
  readonly name: string;
  readonly options: SpanOptions;
  ended: boolean;
  failed: boolean;
}

const spans: Started[] = [];
const points: { readonly name: string; readonly value: number; readonly attributes: Attributes }[] = [];

function register(): void {
  const tracer = {
    startSpan(name: string, options: SpanOptions = {}) {
      const started: Started = { name, options, ended: false, failed: false };
      spans.push(started);
      return {
        spanContext: () => ({ traceId: TRACE, spanId: SPAN, traceFlags: 1 }),
        setStatus: () => {
          started.failed = true;
        },
        end: () => {
          started.ended = true;
        },
      };
    },
  };
  trace.setGlobalTracerProvider({ getTracer: () => tracer as unknown as Tracer });
  const instrument = (name: string) => {
    const record = (value: number, attributes: Attributes): void => {
      points.push({ name, value, attributes: { ...attributes } });
    };
    return { add: record, record };
  };
  const meter = { createCounter: instrument, createHistogram: instrument, createUpDownCounter: instrument };
  metrics.setGlobalMeterProvider({ getMeter: () => meter } as unknown as Parameters<
    typeof metrics.setGlobalMeterProvider
  >[0]);
}

beforeEach(() => {
  spans.length = 0;
  points.length = 0;
});
afterEach(() => {
  trace.disable();
  metrics.disable();
});

const message: Outgoing = {
  route: { service: "irc", instance: "home", action: "inbound_event", partition: 3 },
  body: Buffer.from("x"),
  messageId: "m",
};

function batch(...traceparents: (string | undefined)[]): Prepared<undefined>[] {
  return traceparents.map((traceparent) => ({ delivery: { traceparent } }) as unknown as Prepared<undefined>);
}

test("without an SDK, messages and verdicts pass untouched", async () => {
  const telemetry = new BusTelemetry("rabbitmq");
  let sent: Outgoing | undefined;
  await telemetry.send(message, async (traced) => {
    sent = traced;
  });
  expect(sent).toBe(message);
  const verdicts: Verdict[] = [ACK];
  expect(await telemetry.process("q", batch(GIVEN), async () => verdicts)).toBe(verdicts);
});

test("a sent message carries its span, unless it already carries a trace", async () => {
  register();
  const telemetry = new BusTelemetry("rabbitmq");
  const sent: (string | undefined)[] = [];
  const publish = async (traced: Outgoing): Promise<void> => {
    sent.push(traced.traceparent);
  };
  await telemetry.send(message, publish);
  await telemetry.send({ ...message, traceparent: GIVEN.replace("b7", "c8") }, publish);
  expect(sent).toEqual([GIVEN, GIVEN.replace("b7", "c8")]);
  expect(spans[0]).toMatchObject({ name: "send bridge/irc/inbound_event", ended: true, failed: false });
  expect(spans[0]?.options.attributes).toMatchObject({
    "messaging.system": "rabbitmq",
    "messaging.operation.name": "send",
    "messaging.operation.type": "send",
    "messaging.destination.name": "bridge/irc/inbound_event",
  });
  const labels = points.filter(({ name }) => name === "messaging.client.sent.messages");
  expect(labels).toHaveLength(2);
  expect(labels[0]?.attributes).not.toHaveProperty("messaging.message.id");
});

test("a batch is linked to its messages' traces, valid ones only, and continues none", async () => {
  register();
  const telemetry = new BusTelemetry("rabbitmq");
  const traces = [GIVEN, undefined, "00-zz", `00-${"0".repeat(32)}-${SPAN}-01`];
  await telemetry.process("core.inbound.p03", batch(...traces), async () => traces.map(() => ACK));
  const { name, options } = spans[0] ?? { name: "", options: {} };
  expect(name).toBe("process core.inbound");
  expect(options.root).toBe(true);
  expect(options.links?.map(({ context }: Link) => context.traceId)).toEqual([TRACE]);
  expect(options.attributes).toMatchObject({ "messaging.batch.message_count": 4 });
  const consumed = points.find((point) => point.name === "messaging.client.consumed.messages");
  expect(consumed).toMatchObject({ value: 4, attributes: { "messaging.destination.name": "core.inbound" } });
});

test("a failure is marked by its code", async () => {
  register();
  const telemetry = new BusTelemetry("rabbitmq");
  const failing = telemetry.send(message, () => Promise.reject(new FabricError("bus.unroutable", "x")));
  await expect(failing).rejects.toMatchObject({ code: "bus.unroutable" });
  await expect(telemetry.process("q", [], () => Promise.reject(new Error("text")))).rejects.toThrow("text");
  expect(spans.every(({ ended, failed }) => ended && failed)).toBe(true);
  expect(points.map(({ attributes }) => attributes["error.type"])).toEqual(["bus.unroutable", "_OTHER"]);
});

test("how many messages are stuck is counted by queue, without its partition", () => {
  register();
  const telemetry = new BusTelemetry("rabbitmq");
  telemetry.stuck("core.inbound.p03", 1);
  telemetry.stuck("core.inbound.p03", -1);
  const stuck = points.filter(({ name }) => name === "linkspan.bus.stuck.messages");
  expect(stuck.map(({ value, attributes }) => [value, attributes["messaging.destination.name"]])).toEqual([
    [1, "core.inbound"],
    [-1, "core.inbound"],
  ]);
});

test("reads and writes traceparent, version 00 only", () => {
  const found = parseTraceparent(GIVEN);
  expect(found).toMatchObject({ traceId: TRACE, spanId: SPAN, traceFlags: 1, isRemote: true });
  expect(found && formatTraceparent(found)).toBe(GIVEN);
  for (const bad of [
    "",
    "x",
    `01-${TRACE}-${SPAN}-01`,
    `${GIVEN}-x`,
    GIVEN.toUpperCase(),
    `00-${TRACE}-${"0".repeat(16)}-01`,
  ]) {
    expect(parseTraceparent(bad)).toBe(undefined);
  }
});

/**
 * Spans and metrics by OpenTelemetry's messaging conventions, through its API alone. Without an SDK,
 * registered before the bus is made, nothing is measured and nothing is allocated per message.
 *
 * Labels are closed sets: topics without their instance, queues without their partition, error codes.
 */
import {
  type Attributes,
  context,
  createNoopMeter,
  type Link,
  metrics,
  type Span,
  SpanKind,
  SpanStatusCode,
  trace,
  type Tracer,
  type TracerProvider,
} from "@opentelemetry/api";
import { isFabricError } from "@linkspan/envelopes";
import type { Outgoing, Prepared, Verdict } from "./bus.ts";
import { formatTraceparent, parseTraceparent } from "./traceparent.ts";

const SCOPE = "@linkspan/fabric";
/** SDKs drop more. */
const MAX_LINKS = 128;

type Verdicts = readonly Verdict[];

export class BusTelemetry {
  readonly #system: string;
  readonly #active: boolean;
  readonly #sent;
  readonly #consumed;
  readonly #sendDuration;
  readonly #processDuration;
  readonly #stuck;

  /** @param system `messaging.system`: `rabbitmq`, or `linkspan` for the embedded bus */
  constructor(system: string) {
    this.#system = system;
    const meter = metrics.getMeter(SCOPE);
    this.#active = meter !== createNoopMeter() || isTracing();
    this.#sent = meter.createCounter("messaging.client.sent.messages", { unit: "{message}" });
    this.#consumed = meter.createCounter("messaging.client.consumed.messages", { unit: "{message}" });
    this.#sendDuration = meter.createHistogram("messaging.client.operation.duration", { unit: "s" });
    this.#processDuration = meter.createHistogram("messaging.process.duration", { unit: "s" });
    this.#stuck = meter.createUpDownCounter("linkspan.bus.stuck.messages", { unit: "{message}" });
  }

  /** `publish` gets the message with a `traceparent`, if there is a trace to carry on. */
  send(message: Outgoing, publish: (traced: Outgoing) => Promise<void>): Promise<void> {
    if (!this.#active) return publish(message);
    return this.#measuredSend(message, publish);
  }

  process(
    queue: string,
    batch: readonly Prepared<unknown>[],
    handle: () => Promise<Verdicts>,
  ): Promise<Verdicts> {
    if (!this.#active) return handle();
    return this.#measuredProcess(queue, batch, handle);
  }

  /** One more message of this queue fails alone again and again, or one less. */
  stuck(queue: string, change: 1 | -1): void {
    this.#stuck.add(change, this.#attributes("process", withoutPartition(queue)));
  }

  async #measuredSend(message: Outgoing, publish: (traced: Outgoing) => Promise<void>): Promise<void> {
    const topic = `bridge/${message.route.service}/${message.route.action}`;
    const attributes = this.#attributes("send", topic);
    const span = trace.getTracer(SCOPE).startSpan(`send ${topic}`, {
      kind: SpanKind.PRODUCER,
      attributes: { ...attributes, "messaging.message.id": message.messageId },
    });
    const startedAt = performance.now();
    const parent = isTracing() ? formatTraceparent(span.spanContext()) : undefined;
    const traceparent = message.traceparent ?? parent;
    try {
      await publish(traceparent === undefined ? message : { ...message, traceparent });
      this.#sent.add(1, attributes);
    } catch (error) {
      attributes["error.type"] = failed(span, error);
      throw error;
    } finally {
      this.#sendDuration.record((performance.now() - startedAt) / 1_000, attributes);
      span.end();
    }
  }

  async #measuredProcess(
    queue: string,
    batch: readonly Prepared<unknown>[],
    handle: () => Promise<Verdicts>,
  ): Promise<Verdicts> {
    const destination = withoutPartition(queue);
    const attributes = this.#attributes("process", destination);
    const span = trace.getTracer(SCOPE).startSpan(`process ${destination}`, {
      kind: SpanKind.CONSUMER,
      attributes: { ...attributes, "messaging.batch.message_count": batch.length },
      links: linksOf(batch),
      root: true,
    });
    const startedAt = performance.now();
    try {
      const verdicts = await context.with(trace.setSpan(context.active(), span), handle);
      this.#consumed.add(batch.length, attributes);
      return verdicts;
    } catch (error) {
      attributes["error.type"] = failed(span, error);
      throw error;
    } finally {
      this.#processDuration.record((performance.now() - startedAt) / 1_000, attributes);
      span.end();
    }
  }

  #attributes(operation: "send" | "process", destination: string): Attributes {
    return {
      "messaging.system": this.#system,
      "messaging.operation.name": operation,
      "messaging.operation.type": operation,
      "messaging.destination.name": destination,
    };
  }
}

function withoutPartition(queue: string): string {
  return queue.replace(/\.p\d\d$/, "");
}

/** The API hands out a proxy, which has nobody to delegate to until an SDK is registered. */
interface MaybeProxy extends TracerProvider {
  getDelegateTracer?(name: string): Tracer | undefined;
}

function isTracing(): boolean {
  const provider: MaybeProxy = trace.getTracerProvider();
  return provider.getDelegateTracer === undefined || provider.getDelegateTracer(SCOPE) !== undefined;
}

function linksOf(batch: readonly Prepared<unknown>[]): Link[] {
  const links: Link[] = [];
  for (const { delivery } of batch) {
    const found = parseTraceparent(delivery.traceparent);
    if (found !== undefined) links.push({ context: found });
    if (links.length === MAX_LINKS) break;
  }
  return links;
}

function failed(span: Span, error: unknown): string {
  const type = isFabricError(error) ? error.code : "_OTHER";
  span.setStatus({ code: SpanStatusCode.ERROR, message: type });
  return type;
}

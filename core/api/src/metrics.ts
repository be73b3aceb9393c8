/** The worker's metrics, and those of HTTP, on prom-client. Every label value comes from a closed set. */
import { CODES, INTENT_STATES, SERVICES } from "@linkspan/envelopes";
import { type Database, oldestTransaction } from "@linkspan/store";
import type { Core, Metrics } from "@linkspan/worker";
import { Counter, Gauge, Histogram, type Registry } from "prom-client";

const STATES: ReadonlySet<string> = new Set(INTENT_STATES);
const SERVICE_NAMES: ReadonlySet<string> = new Set(SERVICES);
const OTHER = "other";

const within = (names: ReadonlySet<string>, name: string) => (names.has(name) ? name : OTHER);
const codeOf = (code: string) => (Object.hasOwn(CODES, code) ? code : OTHER);

/** The worker's metrics. Create once per registry. */
export function prometheusMetrics(registry: Registry): Metrics {
  const registers = [registry];
  const events = new Counter({
    name: "linkspan_events_total",
    help: "Events from platforms, by what became of them",
    labelNames: ["outcome", "service"],
    registers,
  });
  const intents = new Counter({
    name: "linkspan_intents_total",
    help: "Intents that entered a state",
    labelNames: ["state", "service"],
    registers,
  });
  const quarantined = new Counter({
    name: "linkspan_quarantined_total",
    help: "Envelopes refused, by error code",
    labelNames: ["code"],
    registers,
  });
  const seconds = new Histogram({
    name: "linkspan_inbound_batch_seconds",
    help: "From taking an inbound batch to its commit",
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5],
    registers,
  });
  const size = new Histogram({
    name: "linkspan_inbound_batch_size",
    help: "Envelopes in an inbound batch",
    buckets: [1, 2, 5, 10, 25, 50, 100, 250, 500],
    registers,
  });
  return {
    events(outcome, service, count) {
      if (count > 0) events.inc({ outcome, service: within(SERVICE_NAMES, service) }, count);
    },
    intent(state, service) {
      intents.inc({ state: within(STATES, state), service: within(SERVICE_NAMES, service) });
    },
    quarantined(code) {
      quarantined.inc({ code: codeOf(code) });
    },
    inboundBatch(batchSeconds, batchSize) {
      seconds.observe(batchSeconds);
      size.observe(batchSize);
    },
  };
}

/**
 * Metrics that a scrape reads from the database; when it does not answer, the last values stay. Create once
 * per registry.
 */
export function databaseMetrics(registry: Registry, database: Database): void {
  const age = new Gauge({
    name: "linkspan_database_oldest_transaction_seconds",
    help: "Age of the transaction that is open for longest, of any session that may be seen",
    registers: [registry],
    async collect() {
      const oldest = await Promise.race([
        oldestTransaction(database.pool).catch(() => "away" as const),
        patience(),
      ]);
      if (oldest !== "away") age.set((oldest?.ageMs ?? 0) / 1_000);
      for (const [state, n] of Object.entries(connectionsOf(database))) connections.set({ state }, n);
    },
  });
  const connections = new Gauge({
    name: "linkspan_database_connections",
    help: "Connections of this process's pool, and who waits for one",
    labelNames: ["state"],
    registers: [registry],
  });
}

/** Metrics of this process's connection to the bus. Create once per registry. */
export function busMetrics(registry: Registry, bus: Pick<Core["bus"], "health">): void {
  const up = new Gauge({
    name: "linkspan_bus_up",
    help: "1 while messages move; 0 while the bus is away, blocked, or something that it consumes is missing",
    registers: [registry],
    collect() {
      const { state, stuck = [] } = bus.health();
      up.set(state === "up" ? 1 : 0);
      stuckMessages.set(stuck.length);
    },
  });
  const stuckMessages = new Gauge({
    name: "linkspan_bus_stuck_messages",
    help: "Messages that fail alone again and again and hold up their conversation; see GET /v1/stuck",
    registers: [registry],
  });
}

const SCRAPE_MS = 2_000;

function patience(): Promise<"away"> {
  return new Promise((resolve) => setTimeout(() => resolve("away"), SCRAPE_MS).unref());
}

function connectionsOf({ pool }: Database) {
  return { open: pool.totalCount, idle: pool.idleCount, waiting: pool.waitingCount };
}

export interface HttpMetrics {
  /** @param route the pattern, never the path; undefined when no route matched */
  answered(method: string, route: string | undefined, status: number, seconds: number): void;
  /** @returns a function to call when the stream ends */
  streaming(): () => void;
}

/** Create once per registry. */
export function httpMetrics(registry: Registry): HttpMetrics {
  const requests = new Histogram({
    name: "linkspan_http_request_seconds",
    help: "Requests by route and status, from the first byte to the last",
    labelNames: ["method", "route", "status"],
    buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
    registers: [registry],
  });
  const streams = new Gauge({
    name: "linkspan_http_event_streams",
    help: "Open event streams",
    registers: [registry],
  });
  return {
    answered(method, route, status, seconds) {
      // Without a route, the method is any text from the caller.
      const labels = route === undefined ? { method: OTHER, route: OTHER } : { method, route };
      requests.observe({ ...labels, status: String(status) }, seconds);
    },
    streaming() {
      streams.inc();
      return () => streams.dec();
    },
  };
}

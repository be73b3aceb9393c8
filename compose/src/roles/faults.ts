/**
 * Uncaught errors of the process: counted, shown in health, and attributed to the daemon whose code threw.
 */
import type { ReadinessCheck } from "@linkspan/api";
import { claimStrayError } from "@linkspan/daemon-kit";
import { type FaultKind, watchFaults } from "@linkspan/daemon-kit/process";
import type { Logger } from "pino";
import { Counter, type Registry } from "prom-client";
import { daemonRunning } from "./supervised.ts";

const ROOT = new URL("../../../", import.meta.url).href;
/** Shared code: an exception in it does not belong to a daemon, even when a daemon's message caused it. */
const SHARED = [`${ROOT}core/`, `${ROOT}vault/`];
const OWN_CONNECTION = `${ROOT}core/fabric/src/amqp/`;

export class Faults {
  readonly #counts: Record<FaultKind, number> = { rejection: 0, exception: 0 };
  #last: Date | undefined;
  #counter: Counter<"kind" | "part"> | undefined;

  /** From now on, until the process ends. @param fail requests a clean stop with a failure */
  watch(log: Logger, fail: (reason: string) => void): void {
    watchFaults({
      log,
      fail,
      partOf: () => daemonRunning()?.name,
      claim: (error) => !isShared(error) && claimStrayError(error),
      contain: (error) => {
        const daemon = isShared(error) ? undefined : daemonRunning();
        daemon?.fault(error);
        return daemon !== undefined;
      },
      onFault: (kind, part) => {
        this.#counts[kind] += 1;
        this.#last = new Date();
        this.#counter?.inc({ kind, part: part ?? "process" });
      },
    });
  }

  /** Counters at /metrics. Once per registry. */
  countTo(registry: Registry): void {
    this.#counter = new Counter({
      name: "linkspan_unhandled_total",
      help: "Rejections and exceptions that no code handled, by the daemon whose code it was",
      labelNames: ["kind", "part"],
      registers: [registry],
    });
  }

  /** For /health/ready: the faults are reported, but a process that still answers is ready. */
  get check(): ReadinessCheck {
    const detail = () => {
      const { rejection, exception } = this.#counts;
      if (this.#last === undefined) return "no unhandled faults";
      return `unhandled: ${rejection} rejections, ${exception} exceptions, the last at ${this.#last.toISOString()}; see the log`;
    };
    return { name: "process", check: () => Promise.resolve({ ok: true, detail: detail() }) };
  }
}

function isShared(error: unknown): boolean {
  const stack = error instanceof Error && typeof error.stack === "string" ? error.stack : "";
  return stack
    .split("\n")
    .some((line) => SHARED.some((path) => line.includes(path)) && !line.includes(OWN_CONNECTION));
}

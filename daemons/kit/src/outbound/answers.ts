/** What the core is told of one intent: each part's status, or that it must wait. Confirmed before it resolves. */
import {
  type Deferred,
  type DeliveryStatus,
  type Envelope,
  type ErrorCode,
  timestamp,
} from "@linkspan/envelopes";
import type { Outgoing } from "@linkspan/fabric";
import { backoffMs } from "@linkspan/time";
import type { Logger } from "pino";
import type { Author } from "../bus/author.ts";
import { clip } from "../shared/clip.ts";
import { type Clock, pause } from "../shared/clock.ts";
import type { Said } from "../connector.ts";
import type { Reports } from "./reports.ts";

export interface AnswersOptions {
  readonly reports: Reports;
  readonly author: Author;
  readonly publish: (message: Outgoing) => Promise<void>;
  readonly clock: Clock;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

export class Answers {
  readonly #options: AnswersOptions;
  readonly #intent: Envelope;
  readonly #attempt: number;

  constructor(intent: Envelope, attempt: number, options: AnswersOptions) {
    this.#options = options;
    this.#intent = intent;
    this.#attempt = attempt;
  }

  sent(part: number, parts: number, said: Said): Promise<void> {
    const at = timestamp(said.at);
    return this.#status({ part, parts, status: "sent", remote_id: said.remoteId, at });
  }

  failed(part: number, parts: number, code: ErrorCode, detail: string): Promise<void> {
    return this.#status({ part, parts, status: "failed", code, detail: clip(detail), at: this.#now() });
  }

  uncertain(part: number, parts: number): Promise<void> {
    return this.#status({ part, parts, status: "uncertain", code: "send.uncertain", at: this.#now() });
  }

  /** @param reason a code or a few words; never text of the message */
  deferred(until: Date, reason: string): Promise<void> {
    const deferred: Deferred = { ...this.#which(), until: timestamp(until), reason: clip(reason) };
    this.#log("delivery.deferred", { until: deferred.until, reason });
    return this.#say("deferred", `deferred ${deferred.until}`, deferred);
  }

  #status(status: Omit<DeliveryStatus, "intent_id" | "attempt">): Promise<void> {
    const { part, parts, at } = status;
    this.#log("delivery.settled", { part, parts, status: status.status, code: status.code });
    return this.#options.reports.tell({
      intent: this.#intent,
      outcome: `${status.status} ${part}/${parts} ${at}`,
      status: { ...this.#which(), ...status },
    });
  }

  async #say(action: string, outcome: string, payload: Deferred): Promise<void> {
    const { author, publish, clock, log, signal } = this.#options;
    const message = author.answer(this.#intent, action, outcome, this.#attempt, { ...payload });
    for (let failures = 1; ; failures++) {
      signal.throwIfAborted();
      try {
        await publish(message);
        return;
      } catch (error) {
        log.warn({ event: "answer.unpublished", action, failures, err: error });
        await pause(clock, backoffMs({ minMs: 100, maxMs: 5_000 }, failures), signal);
      }
    }
  }

  #which(): { intent_id: string; attempt: number } {
    return { intent_id: this.#intent.metadata.message_id, attempt: this.#attempt };
  }

  #now(): string {
    return timestamp(this.#options.clock.now());
  }

  #log(event: string, fields: Readonly<Record<string, unknown>>): void {
    this.#options.log.info({ event, trace_id: this.#intent.trace_id, ...this.#which(), ...fields });
  }
}

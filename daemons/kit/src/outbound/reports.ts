/**
 * Sends statuses to the core; each call resolves when the broker has confirmed its status. Statuses of the same moment
 * share an envelope, and each has the same key as alone. Only statuses of identities of the same partition share one, so
 * that those of one identity stay in order, alone or among others.
 */
import {
  answerId,
  type DeliveryStatus,
  type Envelope,
  LIMITS,
  type ReportedStatus,
} from "@linkspan/envelopes";
import type { Outgoing } from "@linkspan/fabric";
import { backoffMs } from "@linkspan/time";
import type { Logger } from "pino";
import type { Author } from "../bus/author.ts";
import { type Clock, pause } from "../shared/clock.ts";
import { Together } from "./together.ts";

export interface ReportsOptions {
  readonly author: Author;
  readonly publish: (message: Outgoing) => Promise<void>;
  readonly clock: Clock;
  readonly log: Logger;
  readonly signal: AbortSignal;
  /** Whether the core takes many statuses in one envelope. */
  readonly takesMany: () => boolean;
}

/** One status and the intent that it is about. */
export interface Told {
  readonly intent: Envelope;
  /** Contains everything that may differ between two reports of a part, so that neither looks like a forgery of the other. */
  readonly outcome: string;
  readonly status: DeliveryStatus;
}

/** Half of the largest envelope, which leaves room for ids and metadata. */
const MOST_BYTES = 524_288;
const ACTION = "delivery_status";

export class Reports {
  readonly #options: ReportsOptions;
  /** By workspace and partition. */
  readonly #groups = new Map<string, Together<Told, void>>();

  constructor(options: ReportsOptions) {
    this.#options = options;
  }

  tell(told: Told): Promise<void> {
    const { author, clock, signal } = this.#options;
    const { workspace_id, identity_id } = told.intent.metadata;
    if (identity_id === undefined) return this.#publish(this.#alone(told));
    const key = `${workspace_id} ${author.partitionOf(identity_id)}`;
    let group = this.#groups.get(key);
    if (group === undefined) {
      group = new Together((members) => this.#round(members), {
        most: LIMITS.statuses,
        mostBytes: MOST_BYTES,
        bytesOf: ({ status }) => Buffer.byteLength(JSON.stringify(status)),
        clock,
        signal,
      });
      this.#groups.set(key, group);
    }
    return group.do(told);
  }

  async #round(members: readonly Told[]): Promise<readonly PromiseSettledResult<void>[]> {
    const together = members.length > 1 && this.#options.takesMany() ? this.#many(members) : undefined;
    if (together === undefined)
      return Promise.allSettled(members.map((one) => this.#publish(this.#alone(one))));
    await this.#publish(together);
    return members.map(() => ({ status: "fulfilled", value: undefined }));
  }

  #alone({ intent, outcome, status }: Told): Outgoing {
    return this.#options.author.answer(intent, ACTION, outcome, status.attempt, { ...status });
  }

  /** @returns undefined when one of them cannot be encoded; each is then sent alone, and only that one fails */
  #many(members: readonly Told[]): Outgoing | undefined {
    const statuses = members.map(
      ({ intent: { metadata }, outcome, status }): ReportedStatus => ({
        ...status,
        message_id: answerId(ACTION, status.intent_id, outcome, status.attempt),
        identity_id: metadata.identity_id ?? "",
      }),
    );
    const { workspace_id = "", identity_id = "" } = members[0]?.intent.metadata ?? {};
    try {
      return this.#options.author.statuses(workspace_id, identity_id, statuses);
    } catch (error) {
      this.#options.log.warn({ event: "statuses.apart", count: members.length, err: error });
      return undefined;
    }
  }

  async #publish(message: Outgoing): Promise<void> {
    const { publish, clock, log, signal } = this.#options;
    for (let failures = 1; ; failures++) {
      signal.throwIfAborted();
      try {
        await publish(message);
        return;
      } catch (error) {
        log.warn({ event: "answer.unpublished", action: message.route.action, failures, err: error });
        await pause(clock, backoffMs({ minMs: 100, maxMs: 5_000 }, failures), signal);
      }
    }
  }
}

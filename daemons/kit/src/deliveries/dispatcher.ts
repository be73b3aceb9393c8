/**
 * Passes each delivery from the core to its handler. The bus settles each delivery by the handler's verdict.
 */
import { type Ack, type FabricError, isFabricError, type Opened } from "@linkspan/envelopes";
import {
  ACK,
  type Decision,
  type Delivery,
  type Outgoing,
  type Prepared,
  type Verdict,
} from "@linkspan/fabric";
import type { Author } from "../bus/author.ts";
import type { HealthReport } from "../control/health.ts";
import { answerRequest } from "../control/requests.ts";
import { synchronise } from "../control/sync.ts";
import type { CoreCalls } from "../bus/core-calls.ts";
import type { DaemonContext } from "../lifecycle/daemon-context.ts";
import type { Identities } from "../identity/identities.ts";
import { laneOf, refusal, type Verified } from "./verify.ts";
import { Jobs, type Work } from "./long-work.ts";
import { Asks } from "../outbound/asks.ts";
import { attemptNamed } from "../outbound/attempt-number.ts";
import { Reports } from "../outbound/reports.ts";
import { type SendContext, sendIntent } from "../outbound/send.ts";

export interface DispatcherOptions {
  readonly daemon: DaemonContext;
  readonly author: Author;
  readonly calls: CoreCalls;
  readonly identities: Identities;
  readonly publish: (message: Outgoing) => Promise<void>;
  readonly isHeld: () => boolean;
  readonly heldUntilMs: () => number;
  readonly health: () => HealthReport;
  readonly onAssignments: () => void;
  /** Aborted when the term ends. */
  readonly signal: AbortSignal;
}

type Batch = readonly Prepared<Verified>[];

export class Dispatcher {
  readonly #options: DispatcherOptions;
  readonly #jobs: Jobs;
  readonly #requests = new Set<Promise<void>>();
  /** The same for every intent. */
  readonly #sending: SendContext;

  constructor(options: DispatcherOptions) {
    const { daemon, author, calls, identities, publish, isHeld, heldUntilMs, signal } = options;
    const { clock, log, keyRing: keys, signer, memory, coreTakesMany: takesMany } = daemon;
    this.#options = options;
    this.#sending = {
      keys,
      kid: signer.kid,
      author,
      asks: new Asks({ calls, clock, signal, takesMany }),
      reports: new Reports({ author, publish, clock, log, signal, takesMany }),
      publish,
      supervisorOf: (id) => identities.get(id),
      memory,
      clock,
      log,
      isHeld,
      heldUntilMs,
      signal,
    };
    this.#jobs = new Jobs({ log: daemon.log, signal });
  }

  /** Intents of one partition. */
  readonly say = async (batch: Batch): Promise<Verdict[]> => {
    return this.#jobs.verdicts(batch, laneOf, ({ value }) => this.#intent(value));
  };

  /** Acknowledgements, requests, history and rosters, joining and leaving channels. */
  readonly control = async (batch: Batch): Promise<Verdict[]> => {
    return this.#jobs.verdicts(batch, laneOf, ({ value, delivery }) => {
      if (isFabricError(value)) return this.#refused(value);
      const { action } = value;
      if (action.canonical === "ack_event") return this.#acknowledged(value);
      if (action.direction === "request") return this.#request(value, delivery);
      if (action.capability === "sync") return this.#sync(value);
      return this.#intent(value);
    });
  };

  /** Messages from the core to all daemons. */
  readonly changed = async (batch: Batch): Promise<Verdict[]> => {
    const { daemon, onAssignments } = this.#options;
    const { service, instance, keysChanged } = daemon;
    for (const { value } of batch) {
      if (isFabricError(value)) continue;
      const { what, ...whose } = value.envelope.payload;
      const ours = (whose.service ?? service) === service && (whose.instance ?? instance) === instance;
      if (what === "keys") keysChanged();
      if (what === "assignments" && ours) onAssignments();
    }
    return batch.map(() => ACK);
  };

  /** Resolves when no send is in progress and every request is answered. */
  async idle(): Promise<void> {
    await Promise.all([this.#jobs.idle(), ...this.#requests]);
  }

  #intent(value: Verified): Work | Decision {
    if (isFabricError(value)) return this.#refused(value);
    const { metadata } = value.envelope;
    const attempt = attemptNamed(metadata.ticket);
    return {
      key: `${metadata.message_id}.${attempt}`,
      run: () => sendIntent(value, attempt, this.#sending),
    };
  }

  #sync(opened: Opened): Work {
    const { author, publish, identities, daemon } = this.#options;
    const supervisorOf = (id: string) => identities.get(id);
    const context = { author, publish, supervisorOf, log: daemon.log };
    return { key: opened.envelope.metadata.message_id, run: () => synchronise(opened, context) };
  }

  #acknowledged({ envelope }: Opened): Decision {
    // Msgr's fields alone name no events; only the canonical form advances a stream.
    const { account, acked } = envelope.payload as Partial<Ack>;
    if (account !== undefined && acked !== undefined) this.#options.identities.acknowledged(account, acked);
    return ACK;
  }

  /**
   * Requests are answered outside the queue's batch. One that is lost with this process is sent again by the
   * core.
   */
  #request(opened: Opened, delivery: Delivery): Decision {
    const { daemon, author, calls, identities, health, signal } = this.#options;
    const context = { ...daemon, author, calls, identities, health, signal };
    const answering = answerRequest(opened, delivery, context);
    this.#requests.add(answering);
    void answering.finally(() => this.#requests.delete(answering));
    return ACK;
  }

  #refused(error: FabricError): Decision {
    this.#options.daemon.log.warn({ event: "delivery.refused", code: error.code, err: error });
    return refusal(error);
  }
}

/**
 * One term: everything a daemon does while it holds its instance under one epoch.
 *
 * begin: declare the queues · take acknowledgements and requests · announce the capabilities · ask `resume` and open
 *        the identities · take what is to be said
 * end:   stop taking what is to be said, finish what is being said · close the identities, so that nothing new comes
 *        in · wait for confirmations and acknowledgements, keep the checkpoints · stop the rest
 * lost:  all of it stops at once; nothing more is written, and what was not settled goes to the next holder
 */
import { type Ack, FabricError, isFabricError, type Opened } from "@linkspan/envelopes";
import {
  ACK,
  type Bus,
  type Outgoing,
  type Prepared,
  type Subscription,
  type Tenure,
  type Verdict,
} from "@linkspan/fabric";
import { Author } from "./author.ts";
import { pause } from "./clock.ts";
import { type HealthReport, healthOf } from "./control/health.ts";
import { changesQueue, controlQueue, sendQueue } from "./control/queues.ts";
import { answerRequest } from "./control/requests.ts";
import { synchronise } from "./control/sync.ts";
import { CoreCalls } from "./core-calls.ts";
import type { DaemonContext } from "./daemon.ts";
import { Identities } from "./identity/identities.ts";
import { Spacing } from "./identity/spacing.ts";
import { laneOf, refusal, type Verified, verify } from "./intake.ts";
import { Jobs, type Work } from "./jobs.ts";
import { Latest } from "./latest.ts";
import { attemptNamed } from "./sending/attempt-number.ts";
import { sendIntent } from "./sending/send.ts";
import { aborted, childOf, within } from "./signals.ts";

const FINISH_WITHIN_MS = 10_000;
const HEALTH_EVERY_MS = 30_000;
const ASK_AGAIN_EVERY_MS = 5_000;
const SEND_BATCH = { maxBatch: 64, lingerMs: 0 } as const;

/** Serves until told to stop, or until the lease is lost. @throws FabricError when the term could not begin */
export async function serveTerm(
  daemon: DaemonContext,
  tenure: Tenure,
  stop: AbortSignal,
  onBegun: () => void,
): Promise<void> {
  const lost = tenure.signal;
  const term = new Term(daemon, tenure);
  try {
    await Promise.race([term.begin(), aborted(lost)]);
    if (!lost.aborted) onBegun();
    await Promise.race([aborted(stop), aborted(lost)]);
    if (!lost.aborted) await Promise.race([term.end(), aborted(lost)]);
  } finally {
    await term.stop();
  }
}

class Term {
  readonly #daemon: DaemonContext;
  readonly #tenure: Tenure;
  readonly #ending: AbortController;
  readonly #author: Author;
  readonly #calls: CoreCalls;
  readonly #identities: Identities;
  readonly #jobs: Jobs;
  readonly #health: Latest<true>;
  readonly #refresh: Latest<true>;
  readonly #requests = new Set<Promise<void>>();
  readonly #sends: Subscription[] = [];
  readonly #controls: Subscription[] = [];

  constructor(daemon: DaemonContext, tenure: Tenure) {
    const { clock, log, connector, tuning } = daemon;
    this.#daemon = daemon;
    this.#tenure = tenure;
    this.#ending = childOf(tenure.signal);
    const { signal } = this.#ending;
    this.#author = new Author({ ...daemon, epoch: tenure.epoch });
    this.#calls = new CoreCalls(daemon.bus, this.#author, daemon.keyRing, clock);
    this.#jobs = new Jobs({ clock, signal, log });
    const onError = (error: unknown) => log.warn({ event: "report.unpublished", err: error });
    const shared = { clock, signal, onError };
    this.#health = new Latest({
      ...shared,
      everyMs: 1_000,
      send: () => this.#note("health", this.#report()),
    });
    this.#refresh = new Latest({ ...shared, send: () => this.#identities.refresh() });
    this.#identities = new Identities(
      {
        connector,
        author: this.#author,
        calls: this.#calls,
        publish: (message) => this.#publish(message),
        sealKeys: daemon.sealKeys,
        vaultSealKey: daemon.vaultSealKey,
        clock,
        log,
        signal,
        spacing: new Spacing(tuning.openEveryMs, clock),
        checkpointEveryMs: tuning.checkpointEveryMs,
        onChange: () => this.#health.offer(true),
      },
      () => this.#resume(),
    );
  }

  /** @throws FabricError `bus.*` and whatever the core refuses `resume` with */
  async begin(): Promise<void> {
    const { bus, service, instance, partitions, bootId, connector } = this.#daemon;
    const sends = Array.from({ length: partitions }, (_, partition) =>
      sendQueue(service, instance, partition),
    );
    const control = controlQueue(service, instance);
    const changes = changesQueue(service, instance, bootId);
    await bus.declare([...sends, control]);
    this.#controls.push(await this.#subscribe(bus, control, (batch) => this.#control(batch)));
    this.#controls.push(await this.#subscribe(bus, changes, (batch) => this.#changed(batch)));
    await this.#note("capabilities", { capabilities: asPlainData(connector.capabilities) });
    await this.#identities.refresh();
    for (const queue of sends) {
      this.#sends.push(await this.#subscribe(bus, queue, (batch) => this.#say(batch)));
    }
    this.#daemon.log.info({ event: "term.begun", identities: this.#identities.all.length });
    void this.#repeatedly(HEALTH_EVERY_MS, () => this.#health.offer(true));
    void this.#repeatedly(ASK_AGAIN_EVERY_MS, () => {
      for (const { stream } of this.#identities.all) stream.askAgain();
    });
  }

  /** The polite end. */
  async end(): Promise<void> {
    await within(
      FINISH_WITHIN_MS,
      Promise.all([...this.#sends.map((each) => each.drain()), this.#jobs.idle()]),
    );
    await within(FINISH_WITHIN_MS, Promise.all(this.#requests));
    await this.#identities.closeAll({
      state: "transient_disconnect",
      message: "The connector was stopped; it goes on where it was when it is started again.",
    });
    await within(1_000, this.#health.flush());
  }

  /** The end of everything, polite or not. */
  async stop(): Promise<void> {
    this.#ending.abort();
    const subscriptions = [...this.#sends, ...this.#controls];
    const ends = [
      this.#identities.closeAll(),
      ...subscriptions.map((subscription) => subscription[Symbol.asyncDispose]()),
    ];
    await within(FINISH_WITHIN_MS, Promise.allSettled(ends));
    this.#daemon.log.info({ event: "term.ended" });
  }

  #subscribe(
    bus: Bus,
    queue: Parameters<Bus["subscribe"]>[0],
    handle: (batch: readonly Prepared<Verified>[]) => Promise<readonly Verdict[]>,
  ): Promise<Subscription> {
    const { clock, partitions, keyRing: keys } = this.#daemon;
    return bus.subscribe<Verified>(
      queue,
      { prepare: (batch) => verify(batch, { clock, partitions, keys }), handle, keyOf: laneOf },
      SEND_BATCH,
    );
  }

  #say(batch: readonly Prepared<Verified>[]): Promise<Verdict[]> {
    return this.#jobs.verdicts(batch, laneOf, ({ value }) => this.#sendingOf(value));
  }

  #control(batch: readonly Prepared<Verified>[]): Promise<Verdict[]> {
    return this.#jobs.verdicts(batch, laneOf, ({ value, delivery }) => {
      if (isFabricError(value)) return this.#refused(value);
      const { action } = value;
      if (action.canonical === "ack_event") return this.#acknowledged(value);
      if (action.direction === "request") return this.#asked(value, delivery.replyTo);
      if (action.capability === "sync") return this.#syncOf(value);
      return this.#sendingOf(value);
    });
  }

  #sendingOf(value: Verified): Work | Verdict {
    if (isFabricError(value)) return this.#refused(value);
    const { metadata } = value.envelope;
    const { keyRing: keys, signer, clock, log, memory } = this.#daemon;
    return {
      key: `${metadata.message_id}.${attemptNamed(metadata.ticket)}`,
      run: () =>
        sendIntent(value, {
          keys,
          kid: signer.kid,
          author: this.#author,
          calls: this.#calls,
          publish: (message) => this.#publish(message),
          keeperOf: (id) => this.#identities.get(id),
          memory,
          clock,
          log,
          isHeld: () => this.#tenure.isHeld(),
          signal: this.#ending.signal,
        }),
    };
  }

  #syncOf(opened: Opened): Work {
    const context = {
      author: this.#author,
      publish: (message: Outgoing) => this.#publish(message),
      keeperOf: (id: string) => this.#identities.get(id),
      log: this.#daemon.log,
    };
    return { key: opened.envelope.metadata.message_id, run: () => synchronise(opened, context) };
  }

  #acknowledged({ envelope }: Opened): Verdict {
    // Msgr's fields alone name no events; only the canonical form moves a stream.
    const { account, acked } = envelope.payload as Partial<Ack>;
    if (account !== undefined && acked !== undefined) {
      this.#identities.acknowledged(account, acked);
    }
    return ACK;
  }

  /** Requests are answered beside the queue; one that is lost with this process is asked again. */
  #asked(opened: Opened, replyTo: string | undefined): Verdict {
    const { bus, connector, instance, sealKeys, vaultSealKey, clock, log } = this.#daemon;
    const answering = answerRequest(opened, replyTo, {
      bus,
      connector,
      instance,
      sealKeys,
      vaultSealKey,
      clock,
      log,
      author: this.#author,
      calls: this.#calls,
      identities: this.#identities,
      health: () => this.#report(),
      signal: this.#ending.signal,
    });
    this.#requests.add(answering);
    void answering.finally(() => this.#requests.delete(answering));
    return ACK;
  }

  async #changed(batch: readonly Prepared<Verified>[]): Promise<readonly Verdict[]> {
    const { service, instance, keysChanged } = this.#daemon;
    for (const { value } of batch) {
      if (isFabricError(value)) continue;
      const { what, ...whose } = value.envelope.payload;
      const ours = (whose.service ?? service) === service && (whose.instance ?? instance) === instance;
      if (what === "keys") keysChanged();
      if (what === "assignments" && ours) this.#refresh.offer(true);
    }
    return batch.map(() => ACK);
  }

  #refused(error: Parameters<typeof refusal>[0]): Verdict {
    this.#daemon.log.warn({ event: "delivery.refused", code: error.code, err: error });
    return refusal(error);
  }

  async #resume() {
    const { bootId } = this.#daemon;
    const request = { workspaceId: "_", signal: this.#ending.signal };
    const { identities } = await this.#calls.call("core", "resume", { boot_id: bootId }, request);
    return identities;
  }

  #report(): HealthReport {
    return healthOf(this.#identities.all, this.#daemon.bus.health());
  }

  #note(action: string, payload: Readonly<Record<string, unknown>>): Promise<void> {
    return this.#publish(this.#author.note(action, "_", payload));
  }

  #publish(message: Outgoing): Promise<void> {
    // Also right in a process that was stopped and goes on, before any of its timers does.
    if (!this.#tenure.isHeld())
      return Promise.reject(new FabricError("lease.lost", "the instance is not held any more"));
    return this.#daemon.bus.publish(message);
  }

  async #repeatedly(everyMs: number, act: () => void): Promise<void> {
    const { signal } = this.#ending;
    while (!signal.aborted) {
      await pause(this.#daemon.clock, everyMs, signal);
      if (!signal.aborted) act();
    }
  }
}

/** Undefined members are left out: an envelope cannot hold them. */
function asPlainData(value: object): Record<string, unknown> {
  return JSON.parse(JSON.stringify(value)) as Record<string, unknown>;
}

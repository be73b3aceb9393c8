/**
 * One term: everything a daemon does while it holds its instance under one epoch.
 *
 * begin: declare the queues · take acknowledgements and requests · announce the capabilities · ask `resume`
 *        and open the identities · take intents to send
 * end:   stop taking intents, finish sends in progress · close the identities, so that no new event comes in ·
 *        wait for confirmations and acknowledgements, save the checkpoints · stop everything else
 * mute:  the lease has expired and nobody else holds it, as in an outage of the broker: connections stay open,
 *        events wait in their bounded window, and nothing is sent or asked until the lease is renewed
 * lost:  everything stops at once; nothing more is written, and unsettled deliveries go to the next holder
 */
import {
  CODES,
  FabricError,
  isFabricError,
  type ResumedIdentity,
  type ResumeReply,
} from "@linkspan/envelopes";
import type {
  Delivery,
  Outgoing,
  Prepared,
  QueueSpec,
  Subscription,
  Tenure,
  Verdict,
} from "@linkspan/fabric";
import { aborted, childOf, within } from "@linkspan/time";
import { Author } from "../bus/author.ts";
import { clip } from "../shared/clip.ts";
import { pause } from "../shared/clock.ts";
import { type HealthReport, healthOf } from "../control/health.ts";
import { changesQueue, controlQueue, sendQueue } from "../deliveries/queues.ts";
import { CoreCalls } from "../bus/core-calls.ts";
import type { DaemonContext } from "./daemon-context.ts";
import { Identities } from "../identity/identities.ts";
import { Spacing } from "../shared/spacing.ts";
import { Dispatcher } from "../deliveries/dispatcher.ts";
import { laneOf, type Verified, verify } from "../deliveries/verify.ts";
import { Latest } from "../shared/latest.ts";

const FINISH_WITHIN_MS = 10_000;
const TELL_WITHIN_MS = 2_000;
const HEALTH_EVERY_MS = 30_000;
const REFRESH_EVERY_MS = 60_000;
const ASK_AGAIN_EVERY_MS = 5_000;
const BATCHES = { maxBatch: 64, lingerMs: 0 } as const;

/**
 * Serves until told to stop, or until the lease is lost. @throws FabricError when the term could not begin
 */
export async function serveTerm(
  daemon: DaemonContext,
  tenure: Tenure,
  stop: AbortSignal,
  onBegun: () => void,
): Promise<void> {
  const lost = tenure.signal;
  const term = new Term(daemon, tenure);
  const over = childOf(stop, lost);
  try {
    // A broker that does not answer must not delay a stop until the lease is lost.
    await Promise.race([term.begin(), aborted(over.signal)]);
    if (!over.signal.aborted) onBegun();
    await aborted(over.signal);
    if (!lost.aborted) await Promise.race([term.end(), aborted(lost)]);
  } finally {
    over.abort();
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
  readonly #dispatcher: Dispatcher;
  readonly #health: Latest<true>;
  readonly #refresh: Latest<true>;
  readonly #sends: Subscription[] = [];
  readonly #controls: Subscription[] = [];

  constructor(daemon: DaemonContext, tenure: Tenure) {
    const { clock, log, connector, tuning } = daemon;
    this.#daemon = daemon;
    this.#tenure = tenure;
    this.#ending = childOf(tenure.signal);
    const { signal } = this.#ending;
    this.#author = new Author({ ...daemon, epoch: tenure.epoch });
    const mayAsk = () => tenure.isHeld();
    this.#calls = new CoreCalls(daemon.bus, this.#author, daemon.keyRing, clock, mayAsk);
    const onError = (error: unknown) => log.warn({ event: "report.unpublished", err: error });
    const latest = { clock, signal, onError };
    const send = () => this.#note("health", this.#report());
    this.#health = new Latest({ ...latest, everyMs: 1_000, send });
    this.#refresh = new Latest({ ...latest, send: () => this.#identities.refresh() });
    const publish = (message: Outgoing) => this.#publish(message);
    const shared = { author: this.#author, calls: this.#calls, publish, signal };
    this.#identities = new Identities(
      {
        ...shared,
        connector,
        sealKeys: daemon.sealKeys,
        vaultSealKey: daemon.vaultSealKey,
        clock,
        log,
        spacing: new Spacing(tuning.openEveryMs, clock),
        checkpointEveryMs: tuning.checkpointEveryMs,
        reopen: daemon.reopen,
        carried: daemon.carried,
        onChange: () => this.#health.offer(true),
      },
      () => this.#resume(),
    );
    this.#dispatcher = new Dispatcher({
      ...shared,
      daemon,
      identities: this.#identities,
      isHeld: () => tenure.isHeld(),
      heldUntilMs: () => tenure.heldUntil(),
      health: () => this.#report(),
      onAssignments: () => this.#refresh.offer(true),
    });
  }

  /** @throws FabricError `bus.*` and the code with which the core refuses `resume` */
  async begin(): Promise<void> {
    const { bus, service, instance, partitions, bootId, connector } = this.#daemon;
    const sends = Array.from({ length: partitions }, (_, partition) =>
      sendQueue(service, instance, partition),
    );
    const control = controlQueue(service, instance);
    const changes = changesQueue(service, instance, bootId);
    await bus.declare([...sends, control]);
    await this.#subscribe(this.#controls, control, this.#dispatcher.control);
    await this.#subscribe(this.#controls, changes, this.#dispatcher.changed);
    await this.#note("capabilities", {
      capabilities: asPlainData(connector.capabilities),
      ...(this.#daemon.coreSignsBatches() && { knows: ["attempt", "delivery_status", "signed_batches"] }),
      ...(connector.declaration !== undefined && { link: asPlainData(connector.declaration) }),
    });
    await this.#open();
    for (const queue of sends) {
      await this.#subscribe(this.#sends, queue, this.#dispatcher.say);
    }
    this.#health.offer(true);
    this.#daemon.log.info({ event: "term.begun", identities: this.#identities.all.length });
    void this.#repeatedly(HEALTH_EVERY_MS, () => this.#health.offer(true));
    // `changed` may be lost, so the assignments are also requested from time to time.
    void this.#repeatedly(REFRESH_EVERY_MS, () => this.#refresh.offer(true));
    void this.#repeatedly(ASK_AGAIN_EVERY_MS, () => {
      for (const { stream } of this.#identities.all) stream.askAgain();
    });
  }

  /** Ends the term cleanly. */
  async end(): Promise<void> {
    const drained = this.#sends.map((subscription) => subscription.drain());
    await within(FINISH_WITHIN_MS, Promise.all([...drained, this.#dispatcher.idle()]));
    await this.#identities.closeAll({
      state: "transient_disconnect",
      message: "The connector was stopped; it goes on where it was when it is started again.",
    });
    await within(1_000, this.#health.flush());
  }

  /** Ends everything, after a clean end and after a lost lease. */
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

  /** @throws the reason of the term's end when that came first */
  async #subscribe(
    subscriptions: Subscription[],
    queue: QueueSpec,
    handle: (batch: readonly Prepared<Verified>[]) => Promise<readonly Verdict[]>,
  ): Promise<void> {
    const { bus, clock, partitions, keyRing: keys } = this.#daemon;
    this.#ending.signal.throwIfAborted();
    const prepare = (batch: readonly Delivery[]) => verify(batch, { clock, partitions, keys });
    const subscription = await bus.subscribe<Verified>(queue, { prepare, handle, keyOf: laneOf }, BATCHES);
    subscriptions.push(subscription);
    if (this.#ending.signal.aborted) await subscription[Symbol.asyncDispose]();
  }

  /** Reads page by page, so that no answer grows with the number of identities. */
  async #resume(): Promise<readonly ResumedIdentity[]> {
    const { bootId } = this.#daemon;
    const options = { workspaceId: "_", signal: this.#ending.signal };
    const all: ResumedIdentity[] = [];
    for (let cursor: string | undefined = ""; cursor !== undefined; ) {
      const request = { boot_id: bootId, cursor };
      const page: ResumeReply = await this.#calls.call("core", "resume", request, options);
      all.push(...page.identities);
      if (page.cursor === cursor) throw new FabricError("internal", "the core answered the same page again");
      ({ cursor } = page);
    }
    return all;
  }

  /** The first `resume`. While it fails, no identity is served, and only this daemon can report that. */
  async #open(): Promise<void> {
    try {
      await this.#identities.refresh();
    } catch (error) {
      const code = isFabricError(error) ? error.code : "internal";
      const detail = clip(isFabricError(error) ? error.message : CODES.internal.help);
      const note = this.#note("health", { status: "down", identities: 0, code, detail });
      await within(TELL_WITHIN_MS, note).catch((failure: unknown) => {
        this.#daemon.log.warn({ event: "report.unpublished", err: failure });
      });
      throw error;
    }
  }

  #report(): HealthReport {
    return healthOf(this.#identities.all, this.#daemon.bus.health());
  }

  #note(action: string, payload: Readonly<Record<string, unknown>>): Promise<void> {
    return this.#publish(this.#author.note(action, "_", payload));
  }

  #publish(message: Outgoing): Promise<void> {
    // Also correct in a process that was suspended and continues, before any of its timers fires.
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

/** Leaves out undefined members: an envelope cannot contain them. */
function asPlainData(value: object): Record<string, unknown> {
  return JSON.parse(JSON.stringify(value)) as Record<string, unknown>;
}

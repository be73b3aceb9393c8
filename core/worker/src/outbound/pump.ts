/**
 * The pump: takes intents whose turn it is and publishes them, each with a ticket minted that moment.
 *
 * It is woken when an intent is recorded or settled, and looks by itself once a second. An intent whose
 * daemon died, or that nobody spoke of for a while, is published again as the next attempt; the `attempt`
 * question keeps that from saying anything twice. What cannot be published at all fails alone, at once.
 */
import { batchSigner, type FabricError, isFabricError, type Signer } from "@linkspan/envelopes";
import {
  claimTurns,
  type InstanceKey,
  lockIntent,
  mendDueTimes,
  msUntilDue,
  postpone,
  type Turn,
  unparkStranded,
} from "@linkspan/store";
import { backoffMs, sleep, systemClock, within } from "@linkspan/time";
import { committed } from "../after-commit.ts";
import type { Core } from "../core.ts";
import { outgoingLater } from "../send.ts";
import { Handover } from "./handover.ts";
import { InFlight } from "./in-flight.ts";
import { DaemonKnowledge, nameOf } from "./knowledge.ts";
import { draftOf } from "./publishable.ts";
import { transition } from "./transition.ts";

export interface PumpOptions {
  /** Intents of one identity that may be out together. Default 16. */
  readonly credit?: number;
  /** A published intent without a word is published again after this, milliseconds. Default 30,000. */
  readonly overdueMs?: number;
  /** Payloads that wait for the broker's confirmation, bytes. Default 32 MiB. */
  readonly maxBytes?: number;
}

const LOOK_MS = 1_000;
/** Something is due and could not be claimed: another process claims, or works on its lane. */
const BUSY_MS = 10;
/** An instance has no room for more; nothing wakes the pump when it has. */
const FULL_MS = 50;
const UNROUTABLE_PAUSE_MS = 1_000;
const TURNS_AT_ONCE = 200;
/** Intents that wait for the broker's confirmation. */
const MAX_IN_FLIGHT = 2_000;
const UNPARK_EVERY_MS = 10_000;
const AFTER_FAILURE = { minMs: 200, maxMs: 5_000 };
/** How long a stop waits for confirmations. */
const STOP_MS = 5_000;

/** Runs until aborted, whatever fails; outages are waited out. */
export async function runPump(core: Core, options: PumpOptions, signal: AbortSignal): Promise<void> {
  const pump = new Pump(core, options, signal);
  let woken = true;
  core.wakes.on("outbox", () => (woken = true), signal);
  for (let failures = 0; !signal.aborted; ) {
    woken = false;
    try {
      const waitMs = await pump.look(signal);
      failures = 0;
      if (!woken && waitMs > 0) await core.wakes.wait("outbox", waitMs, signal);
    } catch (error) {
      failures += 1;
      core.log.warn({ event: "pump.waiting", failures, err: error }, "the outbox is looked at again soon");
      await sleep(systemClock, backoffMs(AFTER_FAILURE, failures), signal);
    }
  }
  await within(STOP_MS, pump.idle());
}

class Pump {
  readonly #core: Core;
  readonly #credit: number;
  readonly #overdueMs: number;
  readonly #inFlight: InFlight;
  readonly #knowledge: DaemonKnowledge;
  readonly #handover: Handover;
  /** For turns that are claimed together: their tickets have one signature, and so do their envelopes. */
  readonly #batchSigner: Signer;
  #unparkedAt = 0;

  constructor(
    core: Core,
    { credit = 16, overdueMs = 30_000, maxBytes = 32 * 1_048_576 }: PumpOptions,
    signal: AbortSignal,
  ) {
    this.#core = core;
    this.#credit = credit;
    this.#overdueMs = overdueMs;
    this.#knowledge = new DaemonKnowledge(core);
    this.#handover = new Handover(core, signal);
    this.#inFlight = new InFlight(MAX_IN_FLIGHT, maxBytes);
    this.#batchSigner = batchSigner(core.signer);
  }

  /** Publishes what is due. @returns milliseconds until the next look */
  async look(signal: AbortSignal): Promise<number> {
    const { database } = this.#core;
    await this.#inFlight.room(signal);
    if (signal.aborted) return 0;
    await this.#unpark();
    // Who does not take what it was given must not hold the room of all.
    const except = [...new Set([...this.#inFlight.full, ...this.#handover.full])];
    const longestMs = except.length > 0 ? FULL_MS : LOOK_MS;
    const dueMs = await msUntilDue(database.pool, except);
    if (dueMs === undefined || dueMs > 0) return Math.min(longestMs, Math.ceil(dueMs ?? longestMs));
    const turns = await claimTurns(database, {
      limit: TURNS_AT_ONCE,
      credit: this.#credit,
      overdueMs: this.#overdueMs,
      // What one instance is given at once leaves room for the next one's, too.
      maxBytes: Math.ceil(this.#inFlight.freeBytes / 2),
      except,
    });
    await this.#knowledge.load(turns.map(instanceOf));
    for (const turn of turns) {
      this.#inFlight.add(nameOf(instanceOf(turn)), turn.bytes, this.#publish(turn));
    }
    return turns.length > 0 ? 0 : BUSY_MS;
  }

  /** Settles when nothing waits for the broker. */
  async idle(): Promise<void> {
    await Promise.all([this.#inFlight.idle(), this.#handover.idle()]);
  }

  async #unpark(): Promise<void> {
    if (performance.now() - this.#unparkedAt < UNPARK_EVERY_MS) return;
    this.#unparkedAt = performance.now();
    const { pool } = this.#core.database;
    await unparkStranded(pool, this.#credit);
    const mended = await mendDueTimes(pool, this.#overdueMs);
    if (mended > 0) {
      this.#core.log.warn(
        { event: "outbox.clock_went_back", lanes: mended },
        "the database's clock went back",
      );
    }
  }

  /** Never rejects: what fails here is overdue later. */
  async #publish(turn: Turn): Promise<void> {
    const core = this.#core;
    const { id } = turn.intent;
    try {
      const knowledge = this.#knowledge.of(turn);
      if (!knowledge.attempt || !knowledge.deliveryStatus) {
        await this.#handover.give(turn, knowledge);
        return;
      }
      const signer = knowledge.signedBatches ? this.#batchSigner : core.signer;
      const draft = await draftOf(core, turn, knowledge.served, signer);
      await core.bus.publish(await outgoingLater(core, draft, signer));
    } catch (error) {
      const code = isFabricError(error) ? error.code : "internal";
      core.log.warn(
        { event: "intent.unpublished", intent_id: id, code, err: error },
        "an intent was not published",
      );
      await this.#unpublished(turn, error).catch((failure: unknown) =>
        core.log.warn({ event: "intent.unpublished", intent_id: id, err: failure }, "overdue later"),
      );
    }
  }

  async #unpublished(turn: Turn, error: unknown): Promise<void> {
    const core = this.#core;
    if (isFabricError(error) && isItsOwnFault(error)) {
      await failUnpublishable(core, turn, error);
      return;
    }
    if (!isFabricError(error) || error.code !== "bus.unroutable") return;
    // Nobody took it, so nobody can have asked to say it: this attempt ends here.
    await core.database.transaction((on) => postpone(on, [turn.intent.id], UNROUTABLE_PAUSE_MS));
  }
}

function instanceOf({ intent, instance }: Turn): InstanceKey {
  return { service: intent.service, instance };
}

/** There is no valid envelope of it, and another try would make the same. Everything else is waited out. */
function isItsOwnFault({ code }: FabricError): boolean {
  return code.startsWith("envelope.") || code === "action.unsupported";
}

function failUnpublishable(core: Core, { intent }: Turn, error: FabricError): Promise<void> {
  return committed(core, async (on, after) => {
    const locked = await lockIntent(on, intent.id);
    if (locked === undefined || locked.attempt !== intent.attempt) return;
    const { code, message } = error;
    await transition(core, on, after, locked, "publisher", {
      to: "failed",
      actor: "core",
      code,
      detail: message,
    });
  });
}

/**
 * Intents for daemons that do not ask before they say something, or do not tell what became of it, such as those of
 * Msgr's SDKs. What is known of such an intent ends where the broker has it:
 *
 *   the daemon does not ask       the core grants it to itself before it publishes, so it is published once
 *   it does not report            with the broker's confirmation the intent is `uncertain`
 *   it answers the intent         `sent` or `failed`, as it says; without an answer in time `uncertain`
 *
 * Only what no queue took is published again: nobody can have said it.
 */
import { type FabricError, formatTopic, isFabricError, PRIMARY } from "@linkspan/envelopes";
import type { Outgoing } from "@linkspan/fabric";
import { lockIntent, lockIntents, mayBeCommitted, postpone, type Turn } from "@linkspan/store";
import { backoffMs, sleep, systemClock } from "@linkspan/time";
import { committed } from "../after-commit.ts";
import type { Core } from "../core.ts";
import { objectionTo } from "../policy/decide.ts";
import { CORE, outgoingLater } from "../send.ts";
import { isOver, windowEnd } from "./attempt.ts";
import { type End, endOf, UNREPORTED } from "./handover-end.ts";
import { InFlight } from "./in-flight.ts";
import { type Knowledge, nameOf } from "./knowledge.ts";
import { draftOf } from "./publishable.ts";
import { transition } from "./transition.ts";

/** Less than a published intent is left alone for. */
const ANSWER_MS = 20_000;
const UNROUTABLE_PAUSE_MS = 1_000;
/** How long something that only this process knows is tried to be stored. */
const STORE_WITHIN_MS = 600_000;
const AFTER_FAILURE = { minMs: 100, maxMs: 2_000 };
const NO_ROOM_PAUSE_MS = 1_000;
/** Intents that wait for their answer; beyond that, they are given later. */
const MAX_WAITING = 1_000;
const MAX_WAITING_BYTES = 16 * 1_048_576;

function ownerOf({ intent, instance }: Turn): string {
  return nameOf({ service: intent.service, instance });
}

export class Handover {
  readonly #core: Core;
  readonly #stop: AbortSignal;
  readonly #waiting = new InFlight(MAX_WAITING, MAX_WAITING_BYTES);
  /** What daemons answered and is not stored yet, by intent: nobody else knows it. */
  readonly #answered = new Map<string, End>();

  /** @param stop ends what is tried again and again */
  constructor(core: Core, stop: AbortSignal) {
    this.#core = core;
    this.#stop = stop;
  }

  /** Instances that are given nothing before they have answered, each as `<service> <instance>`. */
  get full(): string[] {
    return this.#waiting.full;
  }

  /** Settles when no answer is waited for. */
  idle(): Promise<void> {
    return this.#waiting.idle();
  }

  /**
   * Publishes one intent, at most once; resolves when the broker has it. What comes of it is written here, also later.
   *
   * @throws FabricError when it cannot be published; then nothing was granted, or it stays granted and ends `uncertain`
   */
  async give(turn: Turn, knowledge: Knowledge): Promise<void> {
    // Somebody was granted it before, and nothing was heard since; or its answer could not be stored.
    if (turn.intent.state !== "queued")
      return this.#end(turn, this.#answered.get(turn.intent.id) ?? UNREPORTED);
    const isAnswered = !knowledge.deliveryStatus && knowledge.reply;
    if (isAnswered && !this.#waiting.hasRoomFor(ownerOf(turn))) return this.#later(turn);
    const drafting = this.#message(turn, knowledge, isAnswered);
    if (isAnswered) {
      // It does not hold up the pump: daemons may take long to answer, and many may be slow at once.
      this.#waiting.add(ownerOf(turn), turn.bytes, this.#grantAndAsk(turn, knowledge, drafting));
      await drafting;
      return;
    }
    const message = await drafting;
    if (!knowledge.attempt && !(await this.#granted(turn))) return;
    let isWritten = false;
    try {
      await this.#core.bus.publish(message, { onWritten: () => (isWritten = true) });
    } catch (error) {
      await this.#notTaken(turn, error, isWritten);
      return;
    }
    if (!knowledge.attempt && !knowledge.deliveryStatus) await this.#end(turn, UNREPORTED);
  }

  /** @throws FabricError (rejects) `action.unsupported`, `envelope.*` */
  async #message(turn: Turn, { served }: Knowledge, isAnswered: boolean): Promise<Outgoing> {
    const draft = await draftOf(this.#core, turn, served);
    if (!isAnswered) return outgoingLater(this.#core, draft);
    const { service, action } = draft;
    const replyTo = formatTopic({ service, instance: PRIMARY, action, replyTo: turn.intent.trace_id });
    return outgoingLater(this.#core, { ...draft, metadata: { ...draft.metadata, reply_to: replyTo } });
  }

  /** @throws FabricError of the grant; if it may be stored all the same, it is taken back: nothing was published */
  async #granted(turn: Turn): Promise<boolean> {
    try {
      return await this.#grant(turn);
    } catch (error) {
      if (mayBeCommitted(error))
        this.#waiting.add(
          ownerOf(turn),
          0,
          this.#untilStored(turn, () => this.#back(turn, "store.unavailable")),
        );
      throw error;
    }
  }

  /** What `attempt` checks, for a daemon that does not ask. */
  #grant({ intent, epoch, instance }: Turn): Promise<boolean> {
    const core = this.#core;
    return committed(core, async (on, after) => {
      const [locked] = await lockIntents(on, [{ id: intent.id, workspaceId: intent.workspace_id }]);
      if (locked?.state !== "queued" || locked.attempt !== intent.attempt) return false;
      if (isOver(locked)) {
        const step = { to: "expired", actor: CORE, code: "envelope.expired" } as const;
        await transition(core, on, after, locked, "gate", step);
        return false;
      }
      const objection = await objectionTo(on, locked);
      if (objection !== undefined) {
        const step = { to: "denied", actor: CORE, code: objection.code, detail: objection.reason } as const;
        await transition(core, on, after, locked, "gate", step);
        return false;
      }
      const granted = await transition(core, on, after, locked, "grant", {
        to: "attempting",
        actor: CORE,
        row: {
          part: locked.part,
          askId: locked.id,
          askEpoch: epoch,
          goUntil: windowEnd(locked),
        },
        audit: { part: locked.part, for: `daemon:${locked.service}:${instance}` },
      });
      return granted !== undefined;
    });
  }

  /**
   * Its place is taken before it is granted, so that many at once do not take one place. Never rejects; a draft that
   * fails is for who began it.
   */
  async #grantAndAsk(turn: Turn, { attempt }: Knowledge, drafting: Promise<Outgoing>): Promise<void> {
    const message = await drafting.catch(() => undefined);
    if (message === undefined) return;
    try {
      if (!attempt && !(await this.#granted(turn))) return;
    } catch (error) {
      const { log } = this.#core;
      log.warn({ event: "intent.ungranted", intent_id: turn.intent.id, err: error }, "overdue later");
      return;
    }
    await this.#ask(turn, message);
  }

  /** Never rejects: what cannot be stored is looked at again when it is overdue, and is not published then. */
  async #ask(turn: Turn, message: Outgoing): Promise<void> {
    const { id } = turn.intent;
    let isWritten = false;
    try {
      const answer = await this.#core.bus.request(message, {
        timeoutMs: ANSWER_MS,
        onWritten: () => (isWritten = true),
      });
      this.#answered.set(id, endOf(this.#core, turn, message.route.action, answer));
    } catch (error) {
      await this.#untilStored(turn, () => this.#notTaken(turn, error, isWritten));
      return;
    }
    await this.#untilStored(turn, () => this.#end(turn, this.#answered.get(id) ?? UNREPORTED));
    this.#answered.delete(id);
  }

  /** Never rejects. The database may be away for a while, and an answer comes only once. */
  async #untilStored({ intent }: Turn, store: () => Promise<void>): Promise<void> {
    const startedMs = performance.now();
    for (let failures = 1; performance.now() - startedMs < STORE_WITHIN_MS; failures++) {
      try {
        return await store();
      } catch (error) {
        this.#core.log.warn({ event: "intent.unstored", intent_id: intent.id, failures, err: error });
        if (this.#stop.aborted) return;
        await sleep(systemClock, backoffMs(AFTER_FAILURE, failures), this.#stop);
      }
    }
  }

  /** @param isWritten false: it never left this process */
  async #notTaken(turn: Turn, error: unknown, isWritten: boolean): Promise<void> {
    const { log } = this.#core;
    const code = isFabricError(error) ? error.code : "internal";
    const { id } = turn.intent;
    if (code === "bus.unroutable" || !isWritten) return this.#back(turn, code);
    log.warn(
      { event: "intent.unanswered", intent_id: id, code, err: error },
      "nobody tells what became of it",
    );
    // The broker may have it, and a daemon that refused it may have said it before.
    await this.#end(turn, { ...UNREPORTED, detail: `the daemon was given it, and gave no answer: ${code}` });
  }

  /** It was neither granted nor published. */
  async #later({ intent }: Turn): Promise<void> {
    const core = this.#core;
    await core.database.transaction((client) => postpone(client, [intent.id], NO_ROOM_PAUSE_MS));
  }

  /** Nobody took it, so nobody can have said it. */
  #back({ intent }: Turn, code: FabricError["code"]): Promise<void> {
    const core = this.#core;
    return committed(core, async (on, after) => {
      const locked = await lockIntent(on, intent.id);
      if (locked === undefined || locked.attempt !== intent.attempt) return;
      if (locked.state === "attempting") {
        await transition(core, on, after, locked, "handover", {
          to: "queued",
          actor: CORE,
          code,
          row: { askId: null },
        });
      }
      await postpone(on, [intent.id], UNROUTABLE_PAUSE_MS);
    });
  }

  #end({ intent }: Turn, { to, actor, code, detail, remoteId }: End): Promise<void> {
    const core = this.#core;
    return committed(core, async (on, after) => {
      const locked = await lockIntent(on, intent.id);
      const isSent = to === "sent";
      // That it was said is true whichever attempt said it.
      if (locked === undefined || (locked.attempt !== intent.attempt && !isSent)) return;
      await transition(core, on, after, locked, "handover", {
        to,
        actor,
        code,
        detail,
        ...(isSent && { row: { part: 1, parts: 1, remoteIds: [remoteId ?? ""] } }),
      });
    });
  }
}

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
import {
  decode,
  FabricError,
  formatTopic,
  isFabricError,
  type Opened,
  type OutboundReply,
  PRIMARY,
} from "@linkspan/envelopes";
import type { Delivery, Outgoing } from "@linkspan/fabric";
import { type IntentState, lockIntent, postpone, type Turn } from "@linkspan/store";
import { committed } from "../after-commit.ts";
import { isUnsigned } from "../authority.ts";
import type { Core } from "../core.ts";
import { objectionTo } from "../policy/decide.ts";
import { CORE, outgoing } from "../send.ts";
import { WINDOW_MS } from "./attempt.ts";
import { InFlight } from "./in-flight.ts";
import { type Knowledge, nameOf } from "./knowledge.ts";
import { draftOf } from "./publishable.ts";
import { transition } from "./transition.ts";

/** Less than a published intent is left alone for. */
const ANSWER_MS = 20_000;
const UNROUTABLE_PAUSE_MS = 1_000;
const NO_ROOM_PAUSE_MS = 1_000;
/** Intents that wait for their answer; beyond that, they are given later. */
const MAX_WAITING = 1_000;
const MAX_WAITING_BYTES = 16 * 1_048_576;

interface End {
  readonly to: IntentState;
  readonly actor: string;
  readonly code?: FabricError["code"];
  readonly detail?: string;
  readonly remoteId?: string;
}

const UNREPORTED: End = {
  to: "uncertain",
  actor: CORE,
  code: "send.uncertain",
  detail: "the daemon was given it, and does not tell what becomes of it",
};

export class Handover {
  readonly #core: Core;
  readonly #waiting = new InFlight(MAX_WAITING, MAX_WAITING_BYTES);

  constructor(core: Core) {
    this.#core = core;
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
    // Somebody was granted it before, and nothing was heard since.
    if (turn.intent.state !== "queued") return this.#end(turn, UNREPORTED);
    const isAnswered = !knowledge.deliveryStatus && knowledge.reply;
    const owner = nameOf({ service: turn.intent.service, instance: turn.instance });
    if (isAnswered && !this.#waiting.hasRoomFor(owner)) return this.#later(turn);
    const message = this.#message(turn, knowledge, isAnswered);
    if (isAnswered) {
      // It does not hold up the pump: daemons may take long to answer, and many may be slow at once.
      this.#waiting.add(owner, turn.bytes, this.#grantAndAsk(turn, knowledge, message));
      return;
    }
    if (!knowledge.attempt && !(await this.#grant(turn))) return;
    try {
      await this.#core.bus.publish(message);
    } catch (error) {
      await this.#notTaken(turn, error);
      return;
    }
    if (!knowledge.attempt && !knowledge.deliveryStatus) await this.#end(turn, UNREPORTED);
  }

  /** @throws FabricError `action.unsupported`, `envelope.*` */
  #message(turn: Turn, { served }: Knowledge, isAnswered: boolean): Outgoing {
    const draft = draftOf(this.#core, turn, served);
    if (!isAnswered) return outgoing(this.#core, draft);
    const { service, action } = draft;
    const replyTo = formatTopic({ service, instance: PRIMARY, action, replyTo: turn.intent.trace_id });
    return outgoing(this.#core, { ...draft, metadata: { ...draft.metadata, reply_to: replyTo } });
  }

  /** What `attempt` checks, for a daemon that does not ask. */
  #grant({ intent, epoch, instance }: Turn): Promise<boolean> {
    const core = this.#core;
    return committed(core, async (on, after) => {
      const locked = await lockIntent(on, intent.id);
      if (locked?.state !== "queued" || locked.attempt !== intent.attempt) return false;
      if (locked.expires_at !== null && locked.expires_at <= core.now()) {
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
          goUntil: new Date(core.now().getTime() + WINDOW_MS),
        },
        audit: { part: locked.part, for: `daemon:${locked.service}:${instance}` },
      });
      return granted !== undefined;
    });
  }

  /** Its place is taken before it is granted, so that many at once do not take one place. Never rejects. */
  async #grantAndAsk(turn: Turn, { attempt }: Knowledge, message: Outgoing): Promise<void> {
    try {
      if (!attempt && !(await this.#grant(turn))) return;
    } catch (error) {
      const { log } = this.#core;
      log.warn({ event: "intent.ungranted", intent_id: turn.intent.id, err: error }, "overdue later");
      return;
    }
    await this.#ask(turn, message);
  }

  /** Never rejects: what fails here is looked at again when it is overdue, and is not published then. */
  async #ask(turn: Turn, message: Outgoing): Promise<void> {
    try {
      const answer = await this.#core.bus.request(message, { timeoutMs: ANSWER_MS });
      await this.#end(turn, endOf(this.#core, turn, message.route.action, answer));
    } catch (error) {
      await this.#notTaken(turn, error).catch((failure: unknown) => {
        const { log } = this.#core;
        log.warn({ event: "intent.unanswered", intent_id: turn.intent.id, err: failure }, "overdue later");
      });
    }
  }

  async #notTaken(turn: Turn, error: unknown): Promise<void> {
    const { log } = this.#core;
    const code = isFabricError(error) ? error.code : "internal";
    const { id } = turn.intent;
    if (code === "bus.unroutable") return this.#back(turn);
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
    const until = new Date(core.now().getTime() + NO_ROOM_PAUSE_MS);
    await core.database.transaction((client) => postpone(client, [intent.id], until));
  }

  /** Nobody took it, so nobody can have said it. */
  #back({ intent }: Turn): Promise<void> {
    const core = this.#core;
    return committed(core, async (on, after) => {
      const locked = await lockIntent(on, intent.id);
      if (locked === undefined || locked.attempt !== intent.attempt) return;
      if (locked.state === "attempting") {
        await transition(core, on, after, locked, "handover", {
          to: "queued",
          actor: CORE,
          code: "bus.unroutable",
          row: { askId: null },
        });
      }
      await postpone(on, [intent.id], new Date(core.now().getTime() + UNROUTABLE_PAUSE_MS));
    });
  }

  #end({ intent }: Turn, { to, actor, code, detail, remoteId }: End): Promise<void> {
    const core = this.#core;
    return committed(core, async (on, after) => {
      const locked = await lockIntent(on, intent.id);
      if (locked === undefined || locked.attempt !== intent.attempt) return;
      const isSent = to === "sent";
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

/** What the answer says; one that nobody can believe says nothing. */
function endOf(core: Core, { intent, instance, kid }: Turn, action: string, answer: Delivery): End {
  const actor = `daemon:${intent.service}:${instance}`;
  try {
    const { envelope, kid: signer } = openAnswer(core, { intent, instance, kid }, action, answer);
    const { issuer, in_reply_to, workspace_id } = envelope.metadata;
    const isIts =
      (signer === kid || signer === undefined) &&
      issuer === actor &&
      in_reply_to === intent.id &&
      workspace_id === intent.workspace_id;
    if (!isIts) throw new FabricError("envelope.wrong_issuer", "the answer is not the daemon's");
    return outcomeOf(envelope.payload, actor);
  } catch (error) {
    if (!isFabricError(error)) throw error;
    return { ...UNREPORTED, detail: `its answer is refused: ${error.code}` };
  }
}

/** Msgr's SDKs write neither workspace nor message id; the transport tells whom they answer. */
function openAnswer(
  core: Core,
  { intent, instance, kid }: Pick<Turn, "intent" | "instance" | "kid">,
  action: string,
  { body, kid: signer, sig }: Delivery,
): Opened {
  const received = { body, kid: signer, sig };
  const options = { keys: core.keys, now: core.now() };
  if (!isUnsigned(core, kid)) return decode(received, { ...options, signatures: "required" });
  const topic = { service: intent.service, instance, action };
  const workspace = { foreignWorkspace: intent.workspace_id, foreignInReplyTo: intent.id };
  return decode({ ...received, topic }, { ...options, ...workspace, signatures: "optional" });
}

function outcomeOf(payload: Readonly<Record<string, unknown>>, actor: string): End {
  const { error } = payload;
  if (typeof error === "object" && error !== null && "code" in error) {
    const { code, detail } = error as { readonly code: FabricError["code"]; readonly detail?: string };
    return { to: "failed", actor, code, ...(detail !== undefined && { detail }) };
  }
  const { status, remote_id, event_id, message_id } = payload as OutboundReply;
  if (status === "failed" || status === "error") return { to: "failed", actor, code: "platform.unavailable" };
  const id = remote_id ?? event_id ?? message_id;
  return { to: "sent", actor, ...(id !== undefined && { remoteId: String(id) }) };
}

/**
 * Answers `bridge/core/attempt`: one question in a request, or many as `{asks}`. Questions that arrive at the same
 * moment share a transaction, also those of several daemons; each has its own answer.
 */
import {
  type AttemptAnswers,
  type AttemptBatch,
  type AttemptReply,
  type AttemptRequest,
  type Envelope,
  type ErrorCode,
  type ErrorReply,
  FabricError,
  isFabricError,
} from "@linkspan/envelopes";
import { mayBeCommitted } from "@linkspan/store";
import { type Speaker, speakerOf } from "../authority.ts";
import type { Core } from "../core.ts";
import { GroupCommit, isOfOneMember } from "../group-commit.ts";
import { decideAll, keyOf, type Question, type Verdict } from "./attempt.ts";

/** Most questions in one transaction. */
const AT_ONCE = 500;
/** Most questions of one instance that are being answered; more are refused, so that others need not wait for them. */
const MAX_OF_INSTANCE = 1_000;

export class Attempts {
  readonly #decisions: GroupCommit<Question, ReadonlyMap<Question, Verdict>>;
  /** Questions that are being answered, by `<service> <instance>`. */
  readonly #underWay = new Map<string, number>();

  constructor(core: Core) {
    this.#decisions = new GroupCommit((questions) => decideAll(core, questions), AT_ONCE, {
      mayPart: isOfOneMember,
    });
  }

  /**
   * In a request with many questions, a question that fails has its own error; an error that concerns all of them
   * fails the request. So does one after which nobody knows whether its part was granted: only the same bytes, asked
   * again, are granted it again.
   *
   * @throws FabricError `lease.lost`, `envelope.wrong_issuer`, `store.unavailable`, `request.rate_limited`;
   *   `request.not_found` for a single one
   */
  async answer(envelope: Envelope, kid: string | undefined): Promise<AttemptReply | AttemptAnswers> {
    const { issuer, epoch, workspace_id: workspaceId, message_id } = envelope.metadata;
    const speaker = speakerOf(issuer, epoch, kid);
    const question = (ask: AttemptRequest, id: string): Question => ({
      id,
      ask,
      workspaceId,
      issuer,
      speaker,
    });
    const payload = envelope.payload as AttemptRequest | AttemptBatch;
    if (!("asks" in payload)) {
      const [outcome] = await this.#decideEach(speaker, [question(payload, message_id)]);
      if (outcome?.status !== "fulfilled") throw outcome?.reason;
      return orThrow(outcome.value);
    }
    // Each question has its own name, so that a part that is asked for twice is granted once.
    const questions = payload.asks.map((ask, at) => question(ask, `${message_id}.${at}`));
    const outcomes = await this.#decideEach(speaker, questions);
    const unknown = outcomes.find((one) => one.status === "rejected" && mayBeCommitted(one.reason));
    if (unknown?.status === "rejected") throw unknown.reason;
    const answers = outcomes.map((one) => (one.status === "fulfilled" ? one.value : toError(one.reason)));
    const [first] = answers;
    if (isFabricError(first) && answers.every((one) => isFabricError(one) && SHARED.has(one.code)))
      throw first;
    return { answers: answers.map((one) => (isFabricError(one) ? brief(one) : one)) };
  }

  /** @throws FabricError `request.rate_limited` */
  async #decideEach(
    speaker: Speaker,
    questions: readonly Question[],
  ): Promise<PromiseSettledResult<Verdict>[]> {
    const key = keyOf(speaker);
    const underWay = this.#underWay.get(key) ?? 0;
    if (underWay + questions.length > MAX_OF_INSTANCE)
      throw new FabricError("request.rate_limited", "too many questions at once", { retryAfterMs: 1_000 });
    this.#underWay.set(key, underWay + questions.length);
    try {
      return await Promise.allSettled(questions.map((one) => this.#decide(one)));
    } finally {
      const rest = (this.#underWay.get(key) ?? 0) - questions.length;
      if (rest > 0) this.#underWay.set(key, rest);
      else this.#underWay.delete(key);
    }
  }

  async #decide(question: Question): Promise<Verdict> {
    const verdicts = await this.#decisions.commit([question]);
    return verdicts.get(question) ?? new FabricError("internal", "a question was not answered");
  }
}

/** Errors that concern the sender or the core, and not one part. */
const SHARED: ReadonlySet<ErrorCode> = new Set(["lease.lost", "store.unavailable", "internal"]);

/** Longest detail of one error among many, UTF-16 code units, so that all of them fit in one envelope. */
const MAX_DETAIL = 200;

function brief({ code, message }: FabricError): ErrorReply {
  return { error: { code, detail: message.slice(0, MAX_DETAIL).toWellFormed() } };
}

function toError(error: unknown): FabricError {
  return isFabricError(error) ? error : new FabricError("internal", "an unexpected fault", { cause: error });
}

function orThrow(verdict: Verdict): AttemptReply {
  if (isFabricError(verdict)) throw verdict;
  return verdict;
}

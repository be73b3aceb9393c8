/**
 * Asks the core whether parts may be said now. Parts that ask at the same moment share one `attempt` request, and each
 * has its own answer. A request without an answer is sent again with the same bytes until it expires.
 */
import {
  type AttemptAnswers,
  type AttemptReply,
  type AttemptRequest,
  CODES,
  FabricError,
  isFabricError,
  LIMITS,
} from "@linkspan/envelopes";
import { backoffMs } from "@linkspan/time";
import type { Clock } from "../shared/clock.ts";
import type { CoreCalls } from "../bus/core-calls.ts";
import { Together } from "./together.ts";

export interface AsksOptions {
  readonly calls: CoreCalls;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** Whether the core answers many questions in one request. */
  readonly takesMany: () => boolean;
}

export interface Answered {
  /** Undefined: there was none before the question expired. */
  readonly answer: AttemptReply | undefined;
  /** When the question was first sent, on the monotonic clock: the window counts from here. */
  readonly askedMs: number;
}

const ASK_TIMEOUT_MS = 5_000;
/** The question expires; without an answer by then the part is put off. */
const ASK_FOR_MS = 50_000;

export class Asks {
  readonly #options: AsksOptions;
  readonly #ofWorkspace = new Map<string, Together<AttemptRequest, Answered>>();
  /** The core said that it takes many, and then refused the form. */
  #refusesMany = false;

  constructor(options: AsksOptions) {
    this.#options = options;
  }

  /** @throws FabricError the code that the core answers with, where asking again would not help */
  ask(workspaceId: string, ask: AttemptRequest): Promise<Answered> {
    let together = this.#ofWorkspace.get(workspaceId);
    if (together === undefined) {
      const { clock, signal } = this.#options;
      together = new Together((asks, underWay) => this.#round(workspaceId, asks, underWay), {
        most: LIMITS.asks,
        mostBytes: Number.MAX_SAFE_INTEGER,
        bytesOf: () => 0,
        clock,
        signal,
      });
      this.#ofWorkspace.set(workspaceId, together);
    }
    return together.do(ask);
  }

  async #round(
    workspaceId: string,
    asks: readonly AttemptRequest[],
    underWay: () => void,
  ): Promise<readonly PromiseSettledResult<Answered>[]> {
    const [only] = asks;
    if (asks.length === 1 && only !== undefined)
      return Promise.allSettled([this.#alone(workspaceId, only, underWay)]);
    const each = () => {
      underWay();
      return Promise.allSettled(asks.map((ask) => this.#alone(workspaceId, ask)));
    };
    if (this.#refusesMany || !this.#options.takesMany()) return each();
    try {
      const { answer, askedMs } = await this.#question<AttemptAnswers>(workspaceId, { asks }, underWay);
      if (answer !== undefined && answer.answers.length !== asks.length) {
        throw new FabricError("envelope.schema", "an answer for each question is missing");
      }
      return await Promise.allSettled(
        asks.map((ask, at) => this.#member(workspaceId, ask, answer?.answers[at], askedMs)),
      );
    } catch (error) {
      if (!isFabricError(error) || error.code !== "envelope.schema") throw error;
      this.#refusesMany = true;
      return each();
    }
  }

  /** A member that failed alone with an error that may pass is asked again alone: the others have their answers. */
  async #member(
    workspaceId: string,
    ask: AttemptRequest,
    answer: AttemptAnswers["answers"][number] | undefined,
    askedMs: number,
  ): Promise<Answered> {
    if (answer === undefined || !("error" in answer)) return { answer, askedMs };
    const error = new FabricError(answer.error.code, answer.error.detail);
    if (!mayHeal(error)) throw error;
    return this.#alone(workspaceId, ask);
  }

  #alone(workspaceId: string, ask: AttemptRequest, underWay?: () => void): Promise<Answered> {
    return this.#question<AttemptReply>(workspaceId, { ...ask }, underWay);
  }

  /** Asks until there is an answer. */
  async #question<R>(
    workspaceId: string,
    payload: Readonly<Record<string, unknown>>,
    underWay: () => void = () => undefined,
  ): Promise<{ readonly answer: R | undefined; readonly askedMs: number }> {
    const { calls, clock, signal } = this.#options;
    const askedMs = clock.monotonicMs();
    const question = calls.question("core", "attempt", payload, workspaceId);
    for (let failures = 1; ; failures++) {
      try {
        const answer = await calls.ask(question, "attempt", { timeoutMs: ASK_TIMEOUT_MS, signal });
        return { answer: answer as R, askedMs };
      } catch (error) {
        signal.throwIfAborted();
        if (!isFabricError(error) || !mayHeal(error)) throw error;
        if (clock.monotonicMs() - askedMs > ASK_FOR_MS) return { answer: undefined, askedMs };
        underWay();
        await clock.sleep(backoffMs({ minMs: 100, maxMs: 2_000 }, failures), signal);
      }
    }
  }
}

function mayHeal({ code }: FabricError): boolean {
  return CODES[code].retry !== "never" || code === "bus.unroutable";
}

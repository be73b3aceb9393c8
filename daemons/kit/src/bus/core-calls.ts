/** Requests to the core and the vault: signed, and the reply is verified like any other envelope. */
import {
  type AttemptAnswers,
  type AttemptReply,
  type CheckoutReply,
  type CommitRowsReply,
  decode,
  type Envelope,
  type ErrorReply,
  FabricError,
  type HelloReply,
  type KeyRing,
  type LoadRowsReply,
  type RenewReply,
  type ResumeReply,
  type WriteBackReply,
} from "@linkspan/envelopes";
import type { Bus, Delivery, Outgoing } from "@linkspan/fabric";
import type { Author } from "./author.ts";
import type { Clock } from "../shared/clock.ts";

/** Maps each action to its answer; the fields of the request are in the contract. */
export interface Replies {
  readonly hello: HelloReply;
  readonly resume: ResumeReply;
  readonly attempt: AttemptReply | AttemptAnswers;
  readonly checkout: CheckoutReply;
  readonly renew: RenewReply;
  readonly release: Readonly<Record<string, never>>;
  readonly write_back: WriteBackReply;
  readonly load_rows: LoadRowsReply;
  readonly commit_rows: CommitRowsReply;
}

export interface CallOptions {
  readonly workspaceId: string;
  /** Default 10,000. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

const TIMEOUT_MS = 10_000;
/** How long the answer to a request is of use, milliseconds. */
const QUESTION_LIFE_MS = 60_000;

export class CoreCalls {
  readonly #bus: Bus;
  readonly #author: Author;
  readonly #keys: KeyRing;
  readonly #clock: Clock;
  readonly #mayAsk: () => boolean;

  /**
   * @param mayAsk false: this process does not hold the instance now, and only the holder may send requests
   */
  constructor(bus: Bus, author: Author, keys: KeyRing, clock: Clock, mayAsk: () => boolean = () => true) {
    this.#mayAsk = mayAsk;
    this.#bus = bus;
    this.#author = author;
    this.#keys = keys;
    this.#clock = clock;
  }

  /** Signs a request once. Sending the same bytes again gives the same answer. */
  question(
    service: "core" | "vault",
    action: keyof Replies,
    payload: Readonly<Record<string, unknown>>,
    workspaceId: string,
  ): Outgoing {
    return this.#author.request(service, action, payload, { workspaceId, expiresInMs: QUESTION_LIFE_MS });
  }

  /**
   * @throws FabricError `lease.lost`, the code in an error reply, `bus.*`, or `envelope.*` for an answer that
   *   fails verification
   */
  async call<A extends keyof Replies>(
    service: "core" | "vault",
    action: A,
    payload: Readonly<Record<string, unknown>>,
    options: CallOptions,
  ): Promise<Replies[A]> {
    return this.ask(this.question(service, action, payload, options.workspaceId), action, options);
  }

  /** Sends a {@link question}. */
  async ask<A extends keyof Replies>(
    question: Outgoing,
    action: A,
    options: Omit<CallOptions, "workspaceId">,
  ): Promise<Replies[A]> {
    const { timeoutMs = TIMEOUT_MS, signal } = options;
    if (!this.#mayAsk()) throw new FabricError("lease.lost", "the instance is not held at this moment");
    const delivery = await this.#bus.request(question, {
      timeoutMs,
      ...(signal !== undefined && { signal }),
    });
    const { payload } = this.#proven(delivery, question, action);
    if (isErrorReply(payload)) {
      const { code, detail, retry_after_ms } = payload.error;
      throw new FabricError(
        code,
        detail,
        retry_after_ms === undefined ? {} : { retryAfterMs: retry_after_ms },
      );
    }
    return payload as unknown as Replies[A];
  }

  #proven({ body, kid, sig }: Delivery, question: Outgoing, action: string): Envelope {
    const { envelope } = decode({ body, kid, sig }, { keys: this.#keys, now: this.#clock.now() });
    const { metadata } = envelope;
    if (metadata.issuer !== "core") {
      throw new FabricError("envelope.wrong_issuer", "an answer that is not the core's");
    }
    if (metadata.in_reply_to !== question.messageId || envelope.action !== action) {
      throw new FabricError("envelope.misrouted", "an answer to another question");
    }
    return envelope;
  }
}

function isErrorReply(payload: object): payload is ErrorReply {
  return "error" in payload;
}

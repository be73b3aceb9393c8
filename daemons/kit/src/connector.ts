/**
 * What a daemon author writes: a connector. Everything else (envelopes, leases, acks, checkpoints, the
 * right to send) is the kit's.
 *
 * The required part is small: connect one identity, report what happens, say one part of a message.
 * Anything a platform may lack is an optional member, mirrored as data in {@link Capabilities}.
 */
import type { FabricError, InboundEvent, LinkDeclaration } from "@linkspan/envelopes";
import type { Logger } from "pino";
import type { Secrets } from "./secrets.ts";

/**
 * Whatever a connector throws or rejects with, and wherever, stays with the identity it happened to: the kit calls
 * each method behind a barrier, and {@link IdentityHost.guard} puts the connector's own callbacks behind it.
 */
export interface Connector {
  /** Service segment of the topics, such as `irc`. */
  readonly service: string;
  readonly capabilities: Capabilities;
  /**
   * What linking needs: each setting and each secret with its syntax. The core takes nothing else, and the kit holds
   * both against it again before `open` and `link`. Absent: nothing can be linked.
   */
  readonly declaration?: LinkDeclaration;
  /**
   * Opens one linked identity's connection and keeps it: reconnects by itself with backoff, and reports
   * each change through `host.state`. Resolves as soon as the connection is being kept, not when it is up.
   *
   * @throws FabricError `platform.auth_expired` and others when these settings can never work
   */
  open(identity: LinkedIdentity, host: IdentityHost): Promise<Connection>;
  /** Tries the credentials once, for a link flow. Absent: `open` and the first `connected` state decide. */
  link?(identity: LinkedIdentity, host: IdentityHost): Promise<LinkOutcome>;
}

/** One identity's live connection. Disposing closes it politely. */
export interface Connection extends AsyncDisposable {
  /** Who it is connected as, once known; how a link flow without `link` names the account. */
  readonly self?: { readonly remote: string; readonly name: string } | undefined;
  /**
   * Cuts an outbound action into what the platform carries in one write each; pure, touches nothing. The same
   * action gives the same parts in another process, too: a split message is resumed by their numbers.
   *
   * @throws FabricError `platform.too_long`, `platform.unsupported`, `platform.not_found`
   */
  plan(action: OutboundAction): readonly Part[];
  /**
   * Says one part. Called only inside a window that the core granted, never twice for the same part and key.
   * Resolves when the platform confirmed it.
   *
   * @param key the platform's idempotency key, derived from the intent's message id and the part
   * @throws FabricError `platform.*` when it was certainly not said
   * @throws UncertainSend when it may have been said
   */
  perform(part: Part, key: string, window: Window): Promise<Said>;
  /**
   * Looks for a part that may have been said, perhaps before a crash. `undefined` must mean that it is not there;
   * throw when the platform cannot be asked. Absent: it can never tell.
   */
  find?(part: Part, key: string, since: Date): Promise<Said | undefined>;
  /** Fetches what was asked for; emits through `host.event`, oldest first. */
  history?(request: HistoryRequest): Promise<void>;
  roster?(): Promise<readonly RosterEntry[]>;
}

export interface LinkedIdentity {
  readonly identityId: string;
  readonly workspaceId: string;
  readonly userId: string;
  /** Instance at which it was first linked; part of every event's message id. */
  readonly home: string;
  /** Declared by the connector; holds no secret. */
  readonly settings: Readonly<Record<string, unknown>>;
  /** Where to start reading: the last cursor whose events the core has all acknowledged. */
  readonly checkpoint: Readonly<Record<string, unknown>> | undefined;
}

/** What the kit gives a connection. */
export interface IdentityHost {
  readonly log: Logger;
  readonly signal: AbortSignal;
  /**
   * Makes a callback that can be given to sockets, timers and event emitters: what it throws or rejects with ends this
   * connection, which is opened again later, and reaches nobody else. Every callback that the platform's code, a
   * timer or a shared emitter calls is wrapped in it; an `error` event that nobody listens to counts as thrown.
   *
   *     socket.on("data", host.guard((bytes) => this.#read(bytes)));
   */
  guard<A extends readonly unknown[]>(callback: (...args: A) => unknown): (...args: A) => void;
  /** Credential fields, leased from the vault and wiped on release. Empty when there are none. */
  readonly secrets: Secrets;
  /**
   * Hands over one event. Resolves once it is safe with the core or waits in the bounded window; while it
   * does not resolve, stop reading the platform. Order of calls is order of events. Rejects when the connection ends,
   * or with a fault of the event, which ends the connection; a rejection that is not looked at does no harm.
   */
  event(event: PlatformEvent): Promise<void>;
  /** Reports a bridge state that a person can read; repeated equal states are merged. */
  state(state: BridgeState): void;
  /** Tells that the platform slows us down, until when or at what pace. */
  throttle(throttle: Throttle): void;
  /** Keeps a refreshed credential: compare-and-swap in the vault. */
  writeBack(fields: Readonly<Record<string, Uint8Array>>): Promise<void>;
}

/** An inbound event before it is signed. `conversation` is the channel ref; `payload` the canonical schema. */
export interface PlatformEvent {
  readonly conversation: string;
  readonly occurredAt: Date;
  readonly seq?: number;
  readonly payload: InboundEvent;
}

export interface OutboundAction {
  /** Canonical name: `outbound_message`, `outbound_edit`, `join_channel`, … */
  readonly action: string;
  /** The name it came under, where Msgr's own names carry other payloads, such as `outbound_command`. */
  readonly name?: string;
  readonly conversation: string | undefined;
  readonly payload: Readonly<Record<string, unknown>>;
}

/** One write to the platform, in the connector's own terms. */
export interface Part {
  readonly index: number;
  readonly data: unknown;
  /** Tokens this part takes from the identity's bucket. */
  readonly cost: number;
}

/**
 * The time in which the core allows touching the platform, on this process's monotonic clock. Once `signal` is
 * aborted nothing may be written any more; what was written and not confirmed by then is an {@link UncertainSend}.
 */
export interface Window {
  readonly untilMs: number;
  readonly signal: AbortSignal;
}

export interface Said {
  /** The platform's id, or one of ours where it has none. */
  readonly remoteId: string;
  readonly at: Date;
}

export class UncertainSend extends Error {
  override readonly name = "UncertainSend";
}

export type BridgeStateName =
  | "starting"
  | "unconfigured"
  | "running"
  | "connecting"
  | "backfilling"
  | "connected"
  | "transient_disconnect"
  | "bad_credentials"
  | "unknown_error"
  | "logged_out"
  | "unsupported";

export interface BridgeState {
  readonly state: BridgeStateName;
  /** One sentence for a person: what happened and what to do. */
  readonly message: string;
  readonly code?: FabricError["code"];
  readonly retryAt?: Date;
}

export interface Throttle {
  readonly reason: string;
  readonly retryAfterMs: number;
}

export interface HistoryRequest {
  readonly conversation: string;
  readonly after?: Readonly<Record<string, unknown>>;
  readonly limit: number;
}

export interface RosterEntry {
  readonly ref: string;
  readonly name: string;
  readonly kind: "contact" | "channel";
}

export type LinkOutcome =
  | {
      readonly status: "linked";
      readonly remote: string;
      readonly name: string;
      readonly settings?: Record<string, unknown>;
    }
  | {
      readonly status: "awaiting";
      readonly step: string;
      readonly fields: readonly string[];
      readonly message: string;
    }
  | { readonly status: "failed"; readonly code: FabricError["code"]; readonly message: string };

/** What users may expect; served as `capabilities` and tested by the connector suite. */
export interface Capabilities {
  readonly send: readonly string[];
  readonly edit: boolean;
  readonly delete: boolean;
  readonly reaction: boolean;
  readonly typing: boolean;
  readonly read: boolean;
  readonly history: boolean;
  readonly roster: boolean;
  /** Longest text in bytes that is sent as one part; longer text is split. */
  readonly maxPartBytes: number | undefined;
  /** Sustained pace: tokens per second, and burst. */
  readonly pace: { readonly perSecond: number; readonly burst: number };
  readonly entities: readonly string[];
  /**
   * From which segment of a conversation's remote part on, counted from 0, the letters A to Z mean the same in either
   * case; the connector's own refs have them in lower case. Absent: every spelling is another conversation.
   */
  readonly caselessFrom?: number;
}

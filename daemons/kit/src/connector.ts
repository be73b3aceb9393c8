/**
 * The port that a daemon author implements: a connector. The kit does everything else (envelopes, leases,
 * acks, checkpoints, the right to send).
 *
 * The required part is small: connect one identity, report events, send one part of a message. Each feature
 * that a platform may lack is an optional member, and is declared as data in {@link Capabilities}.
 */
import type { FabricError, InboundEvent, LinkDeclaration } from "@linkspan/envelopes";
import type { Logger } from "pino";
import type { Secrets } from "./secrets.ts";

/**
 * An error of a connector affects only the identity in which it happened, wherever the connector throws or
 * rejects: the kit calls each method behind a barrier, and {@link IdentityHost.guard} puts the connector's
 * own callbacks behind it.
 */
export interface Connector {
  /** Service segment of the topics, such as `irc`. */
  readonly service: string;
  readonly capabilities: Capabilities;
  /**
   * The settings and secrets that linking needs, each with its syntax. The core accepts nothing else, and the
   * kit checks both again before `open` and `link`. Absent: nothing can be linked.
   */
  readonly declaration?: LinkDeclaration;
  /**
   * Opens the connection of one linked identity and keeps it open: reconnects by itself with backoff, and
   * reports each change through `host.state`. Resolves as soon as the connector has begun to keep the
   * connection; it need not be connected yet.
   *
   * @throws FabricError `platform.auth_expired` and others when these settings can never work
   */
  open(identity: LinkedIdentity, host: IdentityHost): Promise<Connection>;
  /** Tries the credentials once, for a link flow. Absent: `open` and the first `connected` state decide. */
  link?(identity: LinkedIdentity, host: IdentityHost): Promise<LinkOutcome>;
}

/** The live connection of one identity. Disposing it closes it cleanly. */
export interface Connection extends AsyncDisposable {
  /**
   * The account that it is connected as, once known. A link flow without `link` names the account from it.
   */
  readonly self?: { readonly remote: string; readonly name: string } | undefined;
  /**
   * Cuts an outbound action into parts, each of which the platform accepts in one write. Pure. The same
   * action gives the same parts in another process, too: a split message is resumed by the numbers of its
   * parts.
   *
   * @throws FabricError `platform.too_long`, `platform.unsupported`, `platform.not_found`
   */
  plan(action: OutboundAction): readonly Part[];
  /**
   * Sends one part. Called only inside a window that the core granted, and never again for a part that was or
   * may have been sent. Resolves when the platform has confirmed it.
   *
   * @param key the platform's idempotency key, derived from the intent's message id and the part
   * @throws FabricError `platform.*` when it was certainly not sent
   * @throws UncertainSend when it may have been sent
   */
  perform(part: Part, key: string, window: Window): Promise<Said>;
  /**
   * Looks for a part that may have been sent, perhaps before a crash. `undefined` must mean that it is not on
   * the platform; throw when the platform cannot be asked. Absent: the connector can never find out.
   */
  find?(part: Part, key: string, since: Date): Promise<Said | undefined>;
  /** Fetches the requested history or roster; reports events through `host.event`, oldest first. */
  history?(request: HistoryRequest): Promise<void>;
  roster?(): Promise<readonly RosterEntry[]>;
}

export interface LinkedIdentity {
  readonly identityId: string;
  readonly workspaceId: string;
  readonly userId: string;
  /** Instance at which it was first linked; part of every event's message id. */
  readonly home: string;
  /** Settings as declared by the connector; contains no secret. */
  readonly settings: Readonly<Record<string, unknown>>;
  /** Where to start reading: the last cursor up to which the core has acknowledged every event. */
  readonly checkpoint: Readonly<Record<string, unknown>> | undefined;
}

/** The functions that the kit gives to a connection. */
export interface IdentityHost {
  readonly log: Logger;
  readonly signal: AbortSignal;
  /**
   * Wraps a callback for sockets, timers and event emitters: if it throws or rejects, this connection ends
   * and is opened again later, and nothing else is affected. Wrap every callback that the platform's code, a
   * timer or a shared emitter calls. An `error` event without a listener counts as thrown.
   *
   *     socket.on("data", host.guard((bytes) => this.#read(bytes)));
   */
  guard<A extends readonly unknown[]>(callback: (...args: A) => unknown): (...args: A) => void;
  /** Credential fields, leased from the vault and wiped on release. Empty when there are none. */
  readonly secrets: Secrets;
  /**
   * Hands over one event. Resolves once the core has stored it or it is in the bounded window; until it
   * resolves, stop reading the platform. Events keep the order of the calls. Rejects when the connection
   * ends, or when the event is faulty, which also ends the connection. Ignoring the rejection is safe.
   */
  event(event: PlatformEvent): Promise<void>;
  /** Reports a bridge state for people to read; repeated equal states are merged. */
  state(state: BridgeState): void;
  /** Reports that the platform slows us down, until when or to what rate. */
  throttle(throttle: Throttle): void;
  /** Stores a refreshed credential: compare-and-swap in the vault. */
  writeBack(fields: Readonly<Record<string, Uint8Array>>): Promise<void>;
  /** State of this identity that must never go back. Declared as `rows` in {@link Capabilities}. */
  readonly rows: Rows;
}

/**
 * Durable rows of one identity: state that must be kept before something leaves to the platform, or before an event
 * is acknowledged, such as the state of an encrypted session. They are encrypted at rest, and nobody but the current
 * holder of the instance reads or changes them.
 *
 * A name has 1 to 512 bytes, a value at most 262,144; an identity has at most 16,384 rows and 16 MiB. A commit changes
 * at most 1,024 rows, of 383,744 bytes together, with 18 bytes more for each.
 */
export interface Rows {
  /**
   * Reads all rows. Call it before the first `commit`, and after one that failed. The bytes are the caller's.
   *
   * @throws FabricError `lease.lost`, `vault.*`, `bus.*`
   */
  load(): Promise<ReadonlyMap<string, Uint8Array>>;
  /**
   * Changes rows together, or none of them; undefined deletes a row. Resolves only when they are kept: another process
   * that takes over loads them. Commits are applied in the order of the calls, and those that wait are sent together.
   *
   * After a rejection every later commit rejects too, until `load` was called again, because the state that the
   * connector has is no longer the one that is kept. Do not send what was to be kept before; usually the connection
   * should end. Ignoring the rejection is safe for the process.
   *
   * @throws FabricError `envelope.schema` for changes outside the limits, `vault.full`, `vault.conflict`, `lease.lost`;
   *   other `vault.*` and `bus.*`: it may be kept or not
   */
  commit(changes: ReadonlyMap<string, Uint8Array | undefined>): Promise<void>;
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
  /**
   * The name under which it came, where Msgr's own names carry other payloads, such as `outbound_command`.
   */
  readonly name?: string;
  readonly conversation: string | undefined;
  readonly payload: Readonly<Record<string, unknown>>;
}

/** One write to the platform, in the connector's own representation. */
export interface Part {
  readonly index: number;
  readonly data: unknown;
  /** Tokens that this part takes from the identity's bucket. */
  readonly cost: number;
}

/**
 * The time in which the core allows writing to the platform, on this process's monotonic clock. Once `signal`
 * is aborted, nothing more may be written; a write that is not confirmed by then is an {@link UncertainSend}.
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

/** What users may expect. Served as `capabilities` and tested by the connector suite. */
export interface Capabilities {
  readonly send: readonly string[];
  readonly edit: boolean;
  readonly delete: boolean;
  readonly reaction: boolean;
  readonly typing: boolean;
  readonly read: boolean;
  readonly history: boolean;
  readonly roster: boolean;
  /** Longest text, in bytes, that is sent as one part; longer text is split. */
  readonly maxPartBytes: number | undefined;
  /** Sustained rate (tokens per second) and burst. */
  readonly pace: { readonly perSecond: number; readonly burst: number };
  readonly entities: readonly string[];
  /**
   * The segment of a conversation's remote part, counted from 0, from which upper and lower case of A to Z
   * are equivalent; the connector's own refs have these letters in lower case. Absent: each spelling is a
   * different conversation.
   */
  readonly caselessFrom?: number;
  /** Whether the connector keeps durable rows, see {@link Rows}. */
  readonly rows?: boolean;
}

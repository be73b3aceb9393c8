/** Input of a mapping of a foreign event beyond the payload, and its result. */
import type { InboundEvent } from "../payloads/events.ts";

export interface EventContext {
  readonly workspaceId: string;
  readonly instance: string;
  /** The linked identity that saw it. */
  readonly account: string;
  /** The envelope's time, for payloads that have none of their own. */
  readonly occurredAt: string;
  /** The envelope's own conversation, which wins over one read from the payload. */
  readonly conversation?: string | undefined;
  /** Metadata as the sender wrote it, such as Msgr's `network` and `channel`. */
  readonly metadata?: Readonly<Record<string, unknown>>;
}

export interface CanonicalEvent {
  /** Undefined where neither envelope nor payload has it. */
  readonly conversation: string | undefined;
  readonly payload: InboundEvent;
}

/** What a caller wants said, and what it is told of it. */
import type { Intent, NewIntent } from "@linkspan/store";

export interface IntentRequest {
  readonly workspaceId: string;
  /** Default: the identity's user. */
  readonly userId?: string;
  readonly identityId: string;
  /** Must be the identity's, if given. */
  readonly service?: string;
  /** Canonical or one of the service's own names, such as `outbound_message`. */
  readonly action: string;
  readonly conversation?: string;
  readonly payload: Readonly<Record<string, unknown>>;
  readonly idempotencyKey: string;
  readonly traceId?: string;
  readonly expiresAt?: Date;
  /** Who asks, for the audit: `token:<name>` or `backend:<name>`. */
  readonly actor: string;
}

/** A request with the intent that it stands for. */
export interface Wanted {
  readonly request: IntentRequest;
  readonly intent: NewIntent;
}

export interface Recorded {
  readonly intent: Intent;
  /** Whether this call recorded it. */
  readonly fresh: boolean;
}

/**
 * What an intent must be before anything is looked up for it, by whatever door it comes: HTTP checks the same when it
 * reads a request, so that its answers name the member; on the bus nothing else does.
 */
import { FabricError, isTimestamp, LIMITS } from "@linkspan/envelopes";

export interface Sendable {
  readonly idempotencyKey: string;
  readonly action: string;
  readonly identityId: string;
  readonly userId?: string;
  readonly conversation?: string;
  readonly expiresAt?: Date;
}

/** What a header can hold: a backend must be able to ask again over HTTP. */
const KEY = /^[\x21-\x7e]{1,255}$/;
const ACTION = /^[a-z][a-z0-9_]{0,63}$/;
const ID = /^[^\u0000-\u001f\u007f]+$/u;

/** @throws FabricError `request.invalid` naming the member */
export function requireSendable(request: Sendable): void {
  const { idempotencyKey, action, conversation, identityId, userId, expiresAt } = request;
  if (!KEY.test(idempotencyKey)) refuse("idempotency_key: not 1 to 255 visible ASCII characters");
  if (!ACTION.test(action)) refuse("action: not the name of an action");
  if (conversation !== undefined && Buffer.byteLength(conversation) > LIMITS.refBytes) {
    refuse(`conversation: longer than ${LIMITS.refBytes} bytes`);
  }
  for (const [name, id] of [
    ["identity_id", identityId],
    ["user_id", userId],
  ] as const) {
    if (id !== undefined && (!ID.test(id) || Buffer.byteLength(id) > LIMITS.idBytes)) {
      refuse(`${name}: empty, too long, or holds control characters`);
    }
  }
  if (expiresAt !== undefined && !isInRange(expiresAt))
    refuse("expires_at: not a time of the years 0 to 9999");
}

/** An offset can lead out of the years that are written with four digits; no answer could show such a time. */
function isInRange(time: Date): boolean {
  return !Number.isNaN(time.getTime()) && isTimestamp(time.toISOString());
}

function refuse(detail: string): never {
  throw new FabricError("request.invalid", detail);
}

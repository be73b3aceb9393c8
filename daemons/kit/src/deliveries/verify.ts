/** Verifies what arrives on a daemon's queues before any other code reads it. */
import {
  decodeBatch,
  FabricError,
  isFabricError,
  type KeyRing,
  type Opened,
  orderingKey,
} from "@linkspan/envelopes";
import type { Delivery, Prepared, Decision } from "@linkspan/fabric";
import type { Clock } from "../shared/clock.ts";

/** A verified envelope of the core, or the reason why verification failed. */
export type Verified = Opened | FabricError;

export interface IntakeOptions {
  readonly keys: KeyRing;
  readonly partitions: number;
  readonly clock: Clock;
}

/** Verifies a batch. Only envelopes from the core are accepted. */
export async function verify(
  batch: readonly Delivery[],
  { keys, partitions, clock }: IntakeOptions,
): Promise<Verified[]> {
  const opened = await decodeBatch(batch, { keys, partitions, now: clock.now(), signatures: "required" });
  return opened.map((one) => {
    if (isFabricError(one) || one.envelope.metadata.issuer === "core") return one;
    return new FabricError("envelope.wrong_issuer", "only the core tells a daemon what to do");
  });
}

/**
 * Equal keys mean the same conversation (or identity), which stays in order; an unreadable delivery has its
 * own key.
 */
export function laneOf({ delivery, value }: Prepared<Verified>): string {
  if (isFabricError(value)) return `unread:${delivery.messageId ?? ""}`;
  return orderingKey(value.envelope) ?? value.envelope.metadata.message_id;
}

/**
 * A delivery that is refused for its content is dead-lettered. One that only came too late is acknowledged:
 * the core expires it by itself.
 */
export function refusal(error: FabricError): Decision {
  if (error.code === "envelope.expired") return { do: "ack" };
  return { do: "dead", code: error.code, detail: error.message };
}

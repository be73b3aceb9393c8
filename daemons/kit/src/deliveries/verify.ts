/** What arrives on a daemon's queues, proven before anything looks at it. */
import {
  decodeBatch,
  FabricError,
  isFabricError,
  type KeyRing,
  type Opened,
  orderingKey,
} from "@linkspan/envelopes";
import type { Delivery, Prepared, Verdict } from "@linkspan/fabric";
import type { Clock } from "../shared/clock.ts";

/** An envelope of the core, or why it is none. */
export type Verified = Opened | FabricError;

export interface IntakeOptions {
  readonly keys: KeyRing;
  readonly partitions: number;
  readonly clock: Clock;
}

/** Verifies a batch; only the core may tell a daemon anything. */
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

/** Equal keys are one conversation (or identity) and stay in order; what cannot be read is alone. */
export function laneOf({ delivery, value }: Prepared<Verified>): string {
  if (isFabricError(value)) return `unread:${delivery.messageId ?? ""}`;
  return orderingKey(value.envelope) ?? value.envelope.metadata.message_id;
}

/** What is refused for itself dies; what merely came too late is done with: the core expires it by itself. */
export function refusal(error: FabricError): Verdict {
  if (error.code === "envelope.expired") return { do: "ack" };
  return { do: "dead", code: error.code, detail: error.message };
}

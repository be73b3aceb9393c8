/** Failures of this platform as our codes. */
import { UncertainSend } from "@linkspan/daemon-kit";
import { CODES, FabricError, isErrorCode, type ErrorCode } from "@linkspan/envelopes";
import type { Order } from "./outbound.ts";

/** The failure that an order asks for, if it does. `uncertain` and `lost` are for the connector. */
export function failureOf({ fail }: Order): FabricError | undefined {
  if (fail === undefined) return undefined;
  const code: ErrorCode = isErrorCode(fail) ? fail : "platform.forbidden";
  const retryAfterMs = CODES[code].retry === "after" ? { retryAfterMs: 60_000 } : {};
  return new FabricError(code, "the echo platform was told to fail", retryAfterMs);
}

export function uncertainty(): UncertainSend {
  return new UncertainSend("the echo platform was told not to answer");
}

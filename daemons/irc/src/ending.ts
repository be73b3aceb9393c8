import type { BridgeStateName } from "@linkspan/daemon-kit";
import type { ErrorCode } from "@linkspan/envelopes";

/** Why a connection ended or was never made, and what to do about it. */
export interface Ending {
  readonly state: BridgeStateName;
  readonly code: ErrorCode;
  /** A sentence for a person. */
  readonly message: string;
  /** `soon`: with the usual backoff. `late`: the network asked for distance. `never`: a person must act. */
  readonly retry: "soon" | "late" | "never";
  /** Why the account could not log in, where that is the reason. */
  readonly login?: string;
  /** The server threw us out for writing too fast. */
  readonly flooded?: boolean;
}

/** What a connection's failure means: a state for people, and whether an automatic retry can help. */
import { CODES, type FabricError, isFabricError } from "@linkspan/envelopes";
import type { BridgeStateName } from "../connector.ts";
import { soundMs } from "../shared/checks.ts";

export interface Failure {
  readonly state: BridgeStateName;
  readonly code: FabricError["code"];
  /** A sentence for a person. */
  readonly message: string;
  /** False: only new settings or a new login can help. */
  readonly retry: boolean;
  readonly retryAfterMs: number | undefined;
}

const LASTING: Partial<Record<FabricError["code"], BridgeStateName>> = {
  "platform.auth_expired": "bad_credentials",
  "vault.revoked": "bad_credentials",
  "platform.unsupported": "unsupported",
  "request.invalid": "unconfigured",
};

export function failureOf(error: unknown): Failure {
  const code = isFabricError(error) && Object.hasOwn(CODES, error.code) ? error.code : "internal";
  const lasting = LASTING[code];
  return {
    state: lasting ?? (SURROUNDINGS.test(code) ? "transient_disconnect" : "unknown_error"),
    code,
    message: CODES[code].help,
    retry: lasting === undefined,
    retryAfterMs: isFabricError(error) ? soundMs(error.retryAfterMs) : undefined,
  };
}

/** Codes of failures that may be temporary; any other code is a fault of the connector or of the kit. */
const SURROUNDINGS = /^(?:platform|bus|vault|ticket|lease|store)\./;

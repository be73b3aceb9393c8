import type { FabricError } from "@linkspan/envelopes";
import type { Transaction } from "./store/transaction.ts";

/** A caller that is about to act on one identity. */
export interface AuthorityClaim {
  /** Issuer string of the daemon. */
  readonly daemon: string;
  readonly kid: string;
  /** Of its instance; undefined when the daemon sent none. */
  readonly epoch: number | undefined;
  readonly workspaceId: string;
  readonly identityId: string;
}

/**
 * Decides inside the vault's transaction, with a statement of its own that sees what was committed before it: whether
 * each caller holds its instance in that epoch and serves that identity.
 *
 * @returns for each claim, in their order, the objection, such as `lease.lost` or `envelope.wrong_issuer`; undefined
 *   where there is none
 */
export type RowAuthority = (
  tx: Transaction,
  claims: readonly AuthorityClaim[],
) => Promise<readonly (FabricError | undefined)[]>;

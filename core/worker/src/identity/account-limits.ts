/**
 * Limits on accounts, checked when a link session is opened. Each account costs a connection, memory and a
 * share of its daemon, which serves other workspaces too.
 */
import { FabricError } from "@linkspan/envelopes";
import { accountsInUse, type Queryable } from "@linkspan/store";

export interface AccountLimits {
  /** Linked accounts of one workspace. */
  readonly linked: number;
  /** Accounts of one workspace that are being linked. */
  readonly pending: number;
}

export const DEFAULT_ACCOUNT_LIMITS: AccountLimits = { linked: 10_000, pending: 1_000 };

/** Retry delay. An abandoned session ends after 15 minutes, but other sessions may end at any time. */
const COME_BACK_MS = 60_000;

/**
 * Links that start at the same moment may exceed a limit by their number, which the request rate limits
 * bound.
 *
 * @throws FabricError `request.rate_limited` while too many are being linked, `request.invalid` when too many
 *   are linked
 */
export async function requireAccountRoom(
  on: Queryable,
  workspaceId: string,
  limits: AccountLimits = DEFAULT_ACCOUNT_LIMITS,
): Promise<void> {
  const { linked, pending } = await accountsInUse(on, workspaceId, limits);
  if (linked >= limits.linked) {
    throw new FabricError(
      "request.invalid",
      `the workspace has ${limits.linked} linked accounts, the most that it may have; unlink some first`,
    );
  }
  if (pending >= limits.pending) {
    throw new FabricError(
      "request.rate_limited",
      `${limits.pending} accounts of the workspace are being linked already`,
      { retryAfterMs: COME_BACK_MS },
    );
  }
}

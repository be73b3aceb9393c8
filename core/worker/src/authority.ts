/**
 * What a daemon may speak for. Every envelope that a daemon sends is held against this one table, whether it comes
 * in on a partition, as a request to the core, or as a request to the vault.
 *
 * | claim    | sent as                                              | lease                              | identity          |
 * | -------- | ---------------------------------------------------- | ---------------------------------- | ----------------- |
 * | event    | inbound_event, history_batch                         | any epoch: its id makes it harmless | linked            |
 * | report   | states, checkpoints, rosters, notes                  | the current epoch                  | linked            |
 * | progress | link_progress                                        | the current epoch                  | not unlinked      |
 * | outcome  | delivery_status, deferred                            | the current epoch                  | whatever its state |
 * | request  | resume, attempt, the vault's                         | live, this epoch, this key         | not unlinked      |
 *
 * In every row the issuer must be the daemon of the instance that serves the identity, in the identity's workspace.
 * An outcome of an identity that was unlinked still settles what was being said at that moment.
 */
import { FabricError } from "@linkspan/envelopes";
import {
  currentLease,
  type Identity,
  identityById,
  type Lease,
  type Queryable,
  UNSIGNED_KID,
} from "@linkspan/store";
import type { Core } from "./core.ts";

export type Claim = "event" | "report" | "progress" | "outcome" | "request";

/** Whether the holder of an instance, by its lease's key, signs nothing and may. */
export function isUnsigned({ namespace }: Pick<Core, "namespace">, kid: string): boolean {
  return namespace.signatures === "optional" && kid === UNSIGNED_KID;
}

/** Who signed: a daemon's instance, under an epoch and a key. */
export interface Speaker {
  readonly service: string;
  readonly instance: string;
  readonly epoch: number | undefined;
  readonly kid: string | undefined;
}

/** The identity that is spoken for, as the envelope names it. */
export interface SpokenFor {
  readonly workspaceId: string;
  readonly identityId: string;
}

const CLAIMS: Readonly<Record<string, Claim>> = {
  inbound_event: "event",
  history_batch: "event",
  link_progress: "progress",
  delivery_status: "outcome",
  deferred: "outcome",
};

/** @param canonical name of an action that daemons tell the core */
export function claimOf(canonical: string): Claim {
  return CLAIMS[canonical] ?? "report";
}

/** @throws FabricError `envelope.wrong_issuer` when the issuer is no daemon */
export function speakerOf(issuer: string, epoch: number | undefined, kid: string | undefined): Speaker {
  const [kind, service, instance] = issuer.split(":");
  if (kind !== "daemon" || service === undefined || instance === undefined) {
    throw new FabricError("envelope.wrong_issuer", "only a daemon may send this");
  }
  return { service, instance, epoch, kid };
}

/** Whether the speaker holds its instance as the claim needs it. @returns why not */
export function objectionToLease(
  claim: Claim,
  speaker: Speaker,
  lease: Lease | undefined,
): FabricError | undefined {
  if (claim === "event") return undefined;
  if (claim === "request") {
    const holds =
      lease?.live === true &&
      speaker.kid !== undefined &&
      lease.epoch === speaker.epoch &&
      lease.kid === speaker.kid;
    return holds ? undefined : new FabricError("lease.lost", "the instance is not held under this epoch");
  }
  // A daemon that takes no lease has no epoch; it is heard while nobody holds its instance.
  const holds = speaker.epoch === undefined ? lease?.live !== true : lease?.epoch === speaker.epoch;
  return holds ? undefined : wrong("another process holds this instance now");
}

/** Whether the speaker's instance serves the identity, in its workspace and in a state that the claim allows. */
export function objectionToIdentity(
  claim: Claim,
  speaker: Speaker,
  workspaceId: string,
  identity: Identity | undefined,
): FabricError | undefined {
  const served =
    identity !== undefined &&
    identity.workspace_id === workspaceId &&
    identity.service === speaker.service &&
    identity.instance === speaker.instance;
  if (!served) return wrong("the instance does not serve this account here");
  const open =
    claim === "outcome" ||
    identity.state === "linked" ||
    (identity.state === "pending" && (claim === "progress" || claim === "request"));
  return open ? undefined : wrong(`the account is ${identity.state}`);
}

/**
 * A request's sender holds its instance, and serves the identity if one is named.
 *
 * @returns the lease that the sender holds
 * @throws FabricError `lease.lost`, `envelope.wrong_issuer`
 */
export async function requireAuthority(
  on: Queryable,
  speaker: Speaker,
  spokenFor?: SpokenFor,
): Promise<Lease> {
  if (spokenFor !== undefined) {
    const identity = await identityById(on, spokenFor.identityId);
    const wrongIdentity = objectionToIdentity("request", speaker, spokenFor.workspaceId, identity);
    if (wrongIdentity !== undefined) throw wrongIdentity;
  }
  const lease = await currentLease(on, speaker.service, speaker.instance);
  const notHeld = objectionToLease("request", speaker, lease);
  if (notHeld !== undefined || lease === undefined) throw notHeld ?? wrong("nobody holds this instance");
  return lease;
}

function wrong(why: string): FabricError {
  return new FabricError("envelope.wrong_issuer", why);
}

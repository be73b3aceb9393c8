/**
 * What a daemon may report and request. Every envelope of a daemon is checked against this one table, whether
 * it arrives on a partition, as a request to the core, or as a request to the vault.
 *
 * | claim    | sent as                                              | lease                              | identity          |
 * | -------- | ---------------------------------------------------- | ---------------------------------- | ----------------- |
 * | event    | inbound_event, history_batch                         | any epoch: its id makes it harmless | linked            |
 * | report   | states, checkpoints, rosters, notes                  | the current epoch                  | linked            |
 * | progress | link_progress                                        | the current epoch                  | not unlinked      |
 * | outcome  | delivery_status(es), deferred                        | the current epoch                  | whatever its state |
 * | request  | resume, attempt, the vault's, rows included          | live, this epoch, this key         | not unlinked      |
 *
 * In every row the issuer must be the daemon of the instance that serves the identity, in the identity's
 * workspace. Of many statuses or questions in one envelope each is checked alone; all belong to the envelope's
 * workspace. An outcome of an unlinked identity still settles the intents that were being sent at that
 * moment.
 */
import { FabricError } from "@linkspan/envelopes";
import {
  currentLease,
  currentLeases,
  identitiesById,
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

/** The identity that an envelope concerns, as the envelope names it. */
export interface SpokenFor {
  readonly workspaceId: string;
  readonly identityId: string;
}

const CLAIMS: Readonly<Record<string, Claim>> = {
  inbound_event: "event",
  history_batch: "event",
  link_progress: "progress",
  delivery_status: "outcome",
  delivery_statuses: "outcome",
  deferred: "outcome",
};

/** @param canonical name of an action that daemons report to the core */
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

/** Checks that the speaker holds its instance as the claim requires. @returns the objection, if any */
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
  // A daemon without a lease has no epoch; it is accepted while its instance has no holder.
  const holds = speaker.epoch === undefined ? lease?.live !== true : lease?.epoch === speaker.epoch;
  return holds ? undefined : wrong("another process holds this instance now");
}

/**
 * Checks that the speaker's instance serves the identity, in its workspace and in a state that the claim
 * allows.
 */
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
 * Checks that a request's sender holds its instance, and serves the identity if one is named.
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

/**
 * The same for many at once, each by itself, in two statements: what was committed before they began is seen.
 *
 * @returns in their order, the objection of each, if any
 */
export async function objectionsToRequests(
  on: Queryable,
  requests: readonly { readonly speaker: Speaker; readonly spokenFor: SpokenFor }[],
): Promise<(FabricError | undefined)[]> {
  const ids = new Set(requests.map(({ spokenFor }) => spokenFor.identityId));
  const identities = new Map((await identitiesById(on, [...ids])).map((one) => [one.id, one]));
  const instances = new Map(requests.map(({ speaker }) => [instanceOf(speaker), speaker]));
  const held = await currentLeases(on, [...instances.values()]);
  const leases = new Map(held.map((lease) => [instanceOf(lease), lease]));
  return requests.map(({ speaker, spokenFor: { workspaceId, identityId } }) => {
    const identity = identities.get(identityId);
    return (
      objectionToIdentity("request", speaker, workspaceId, identity) ??
      objectionToLease("request", speaker, leases.get(instanceOf(speaker)))
    );
  });
}

function instanceOf({ service, instance }: Pick<Speaker, "service" | "instance">): string {
  return `${service} ${instance}`;
}

function wrong(why: string): FabricError {
  return new FabricError("envelope.wrong_issuer", why);
}

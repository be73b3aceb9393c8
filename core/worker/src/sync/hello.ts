/**
 * `bridge/core/hello` and `bridge/core/resume`: how a daemon's process becomes the holder of an instance.
 *
 * Hello is handshake and heartbeat in one: it tells what a publisher must know and takes or renews the
 * lease. Resume, asked under that lease, lists the identities to serve, each with the cursor its stream may
 * start from and a ticket to connect with.
 */
import {
  type Envelope,
  FabricError,
  type HelloReply,
  type HelloRequest,
  mintTicket,
  type ResumedIdentity,
  type ResumeReply,
  ticketStamp,
} from "@linkspan/envelopes";
import {
  checkpointOf,
  claimLease,
  identitiesAt,
  type Identity,
  type Lease,
  type LeaseAnswer,
  type LeaseClaim,
  releaseLease,
} from "@linkspan/store";
import { requireAuthority, speakerOf } from "../authority.ts";
import type { Core } from "../core.ts";
import { CORE } from "../send.ts";
import { POLICY_HASH } from "../policy/decide.ts";

/** A holder that falls silent is followed by another after this. */
export const LEASE_TTL_MS = 6_000;
export const VERSION = "0.1.0";

/** @throws FabricError `envelope.wrong_issuer` when the sender is no daemon */
export async function answerHello(
  core: Core,
  envelope: Envelope,
  kid: string | undefined,
): Promise<HelloReply> {
  const { service, instance } = speakerOf(envelope.metadata.issuer, envelope.metadata.epoch, kid);
  const { boot_id, leaving } = envelope.payload as HelloRequest;
  if (kid === undefined) throw new FabricError("envelope.unsigned", "an unsigned daemon holds no lease");
  const claim = { service, instance, holder: boot_id, kid, ttlMs: LEASE_TTL_MS };
  const answer = leaving === true ? await giveBack(core, claim) : await claimLease(core.database.pool, claim);
  if (answer.state === "held" && answer.changed) {
    core.log.info(
      { event: "lease.taken", service, instance, epoch: answer.epoch },
      "an instance has a new holder",
    );
    core.wakes.local("outbox");
  }
  return {
    version: VERSION,
    generation: core.namespace.generation,
    partitions: core.namespace.partitions,
    keys: core.keys.records().filter((record) => record.issuers.includes(CORE)),
    lease:
      answer.state === "held"
        ? { state: "held", epoch: answer.epoch, ttl_ms: LEASE_TTL_MS }
        : { state: "taken", retry_after_ms: answer.retryAfterMs },
  };
}

async function giveBack(core: Core, claim: LeaseClaim): Promise<LeaseAnswer> {
  await releaseLease(core.database.pool, claim);
  return { state: "taken", retryAfterMs: 0 };
}

/** @throws FabricError `lease.lost`, `envelope.wrong_issuer` */
export async function answerResume(
  core: Core,
  envelope: Envelope,
  kid: string | undefined,
): Promise<ResumeReply> {
  const { issuer, epoch } = envelope.metadata;
  const lease = await requireAuthority(core.database.pool, speakerOf(issuer, epoch, kid));
  const identities = await identitiesAt(core.database.pool, lease.service, lease.instance);
  return { identities: await Promise.all(identities.map((identity) => resumed(core, identity, lease))) };
}

async function resumed(core: Core, identity: Identity, lease: Lease): Promise<ResumedIdentity> {
  const checkpoint = await checkpointOf(core.database.pool, identity.id);
  return {
    identity_id: identity.id,
    workspace_id: identity.workspace_id,
    user_id: identity.user_id,
    home: identity.home,
    settings: identity.settings,
    ...(checkpoint !== undefined && { checkpoint }),
    ticket: sessionTicket(core, identity, lease, lease.kid),
    state: identity.bridge_state,
  };
}

/**
 * A ticket to connect and read as this identity; it names no conversation and says nothing.
 *
 * @param actions requests it is good for; with `link_account` the vault adds what a person has just entered
 */
export function sessionTicket(
  core: Core,
  identity: Identity,
  lease: Lease,
  kid: string,
  actions: readonly string[] = [],
): string {
  return mintTicket(
    {
      iss: CORE,
      aud: `daemon:${lease.service}:${lease.instance}`,
      cnf: kid,
      workspace_id: identity.workspace_id,
      identity_id: identity.id,
      service: identity.service,
      actions: [...actions],
      capabilities: ["session"],
      lease_id: `${lease.service}:${lease.instance}:${lease.epoch}`,
      policy_hash: POLICY_HASH,
      decision_id: identity.id,
      ...ticketStamp(["session"], core.now()),
    },
    core.signer,
  );
}

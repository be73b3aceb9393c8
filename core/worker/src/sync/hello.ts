/**
 * `bridge/core/hello`: how a daemon's process becomes the holder of an instance. Handshake and heartbeat in one: it
 * tells what a publisher must know and takes or renews the lease.
 */
import {
  type Envelope,
  FabricError,
  type HelloReply,
  type HelloRequest,
  mintTicket,
  ticketStamp,
} from "@linkspan/envelopes";
import {
  claimLease,
  type Identity,
  type Lease,
  type LeaseAnswer,
  type LeaseClaim,
  releaseLease,
} from "@linkspan/store";
import { speakerOf } from "../authority.ts";
import type { Core } from "../core.ts";
import { CORE } from "../send.ts";
import { POLICY_HASH } from "../policy/decide.ts";

/** A holder that falls silent is followed by another after this. */
export const LEASE_TTL_MS = 6_000;
/** A holder that knows two ends stays this long on its platform, mute, while it cannot reach the core. */
export const LEASE_STAY_MS = 300_000;
/** Told in `hello`. From 0.2 on a daemon may ask `attempt` for many parts, and report `delivery_statuses`. */
export const VERSION = "0.2.0";

/** @throws FabricError `envelope.wrong_issuer` when the sender is no daemon */
export async function answerHello(
  core: Core,
  envelope: Envelope,
  kid: string | undefined,
): Promise<HelloReply> {
  const { service, instance } = speakerOf(envelope.metadata.issuer, envelope.metadata.epoch, kid);
  const { boot_id, leaving, stays } = envelope.payload as HelloRequest;
  const stay = stays === true ? LEASE_STAY_MS : undefined;
  if (kid === undefined) throw new FabricError("envelope.unsigned", "an unsigned daemon holds no lease");
  const claim = {
    service,
    instance,
    holder: boot_id,
    kid,
    ttlMs: LEASE_TTL_MS,
    ...(stay !== undefined && { stayMs: stay }),
  };
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
        ? {
            state: "held",
            epoch: answer.epoch,
            ttl_ms: LEASE_TTL_MS,
            ...(stay !== undefined && { stay_ms: stay }),
          }
        : { state: "taken", retry_after_ms: answer.retryAfterMs },
  };
}

async function giveBack(core: Core, claim: LeaseClaim): Promise<LeaseAnswer> {
  await releaseLease(core.database.pool, claim);
  return { state: "taken", retryAfterMs: 0 };
}

/**
 * A ticket to connect and read as this identity; it names no conversation and says nothing.
 *
 * @param actions requests it is good for; with `link_account` the vault adds what a person has just entered
 */
export function sessionTicket(
  core: Core,
  identity: Pick<Identity, "id" | "workspace_id" | "service">,
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

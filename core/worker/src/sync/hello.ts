/**
 * `bridge/core/hello`: how a daemon's process becomes the holder of an instance. Handshake and heartbeat in
 * one: it answers with the values that a publisher needs, and takes or renews the lease.
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

/** When a holder sends no hello for this time, another process may take the instance. */
export const LEASE_TTL_MS = 6_000;
/**
 * How long a holder that declares `stays` remains connected to its platform, without sending, while it cannot
 * reach the core.
 */
export const LEASE_STAY_MS = 300_000;
/** The answer to `hello` names it. 0.2: `attempt` for many parts, `delivery_statuses`. 0.3: signed batches, durable rows. */
export const VERSION = "0.3.0";

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
 * A ticket to connect and read as this identity; it names no conversation and allows no message.
 *
 * @param actions requests that it allows; with `link_account` the vault includes the values that a person has
 *   just entered
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

/** The vault of the scripted core: credentials of its identities, leased to the enrolled daemon. */
import { randomUUID } from "node:crypto";
import {
  type CredentialFields,
  FabricError,
  generateSealKeys,
  open,
  type SealContext,
  seal,
  sealInfo,
  ticketHash,
} from "@linkspan/envelopes";
import type { ScriptedKeys } from "./scripted-keys.ts";

export interface Credential {
  readonly fields: CredentialFields;
  readonly version: number;
}

type Payload = Readonly<Record<string, unknown>>;

export class ScriptedVault {
  /** By identity. */
  readonly credentials = new Map<string, Credential>();
  ttlMs = 60_000;
  /** Seals credentials to a key that nobody has. */
  sealsWrongly = false;
  /** Error that `renew` is answered with, if any. */
  renewal: FabricError | undefined;
  readonly #keys: ScriptedKeys;
  readonly #daemon: string;
  readonly #workspace: string;
  readonly #leases = new Map<string, SealContext>();

  /** @param daemon issuer to which credentials are sealed */
  constructor(keys: ScriptedKeys, daemon: string, workspace: string) {
    this.#keys = keys;
    this.#daemon = daemon;
    this.#workspace = workspace;
  }

  /** @throws FabricError the error of the answer */
  async answer(action: string, payload: Payload): Promise<object> {
    const leaseId = String(payload.lease_id);
    switch (action) {
      case "checkout":
        return this.#checkOut(String(payload.ticket));
      case "renew":
        if (!this.#leases.has(leaseId)) throw new FabricError("vault.lease_expired", "it ended");
        if (this.renewal !== undefined) throw this.renewal;
        return { ttl_ms: this.ttlMs };
      case "release":
        this.#leases.delete(leaseId);
        return {};
      default:
        return this.#writeBack(leaseId, payload);
    }
  }

  async #checkOut(ticket: string): Promise<object> {
    const claims = JSON.parse(Buffer.from(ticket.split(".")[1] ?? "", "base64url").toString()) as {
      identity_id: string;
    };
    const identityId = claims.identity_id;
    const lease = { lease_id: randomUUID(), ttl_ms: this.ttlMs };
    const context = {
      leaseId: lease.lease_id,
      daemon: this.#daemon,
      workspaceId: this.#workspace,
      identityId,
      ticketHash: ticketHash(ticket),
    };
    this.#leases.set(lease.lease_id, context);
    const credential = this.credentials.get(identityId);
    if (credential === undefined) return { ...lease, version: 0 };
    const { publicKey } = this.sealsWrongly ? await generateSealKeys() : (await this.#keys.enrol()).sealKeys;
    const sealed = await seal(publicKey, sealInfo(context), credential.fields);
    return { ...lease, version: credential.version, sealed };
  }

  async #writeBack(leaseId: string, { version, sealed }: Payload): Promise<object> {
    const context = this.#leases.get(leaseId);
    const credential = context && this.credentials.get(context.identityId);
    if (context === undefined || credential === undefined)
      throw new FabricError("vault.lease_expired", "it ended");
    if (credential.version !== version) throw new FabricError("vault.conflict", "there is a newer one");
    const fields = await open(
      this.#keys.sealKeys.privateKey,
      sealInfo(context),
      sealed as { enc: string; ct: string },
    );
    this.credentials.set(context.identityId, { fields, version: credential.version + 1 });
    return { version: credential.version + 1 };
  }
}

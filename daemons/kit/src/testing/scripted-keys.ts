/** The keys of the scripted core and of the daemon processes that it has enrolled. */
import { randomBytes } from "node:crypto";
import {
  generateSealKeys,
  type KeyRecord,
  KeyRing,
  type SealKeys,
  type Signer,
  signerFromSeed,
  toBase64url,
} from "@linkspan/envelopes";

export interface DaemonKeys {
  readonly signer: Signer;
  readonly sealKeys: SealKeys;
}

const ALWAYS = { not_before: "2020-01-01T00:00:00.000Z", not_after: "2099-01-01T00:00:00.000Z" };

export class ScriptedKeys {
  readonly signer = signerFromSeed(randomBytes(32));
  readonly sealKeys: SealKeys;
  /** Verifies what enrolled daemons send. */
  readonly ring: KeyRing;
  readonly #service: string;
  readonly #issuer: string;
  #daemon: DaemonKeys | undefined;

  /** @param issuer of the daemons that are enrolled */
  constructor(service: string, issuer: string, sealKeys: SealKeys) {
    this.#service = service;
    this.#issuer = issuer;
    this.sealKeys = sealKeys;
    this.ring = new KeyRing(this.records());
  }

  /** Keys of the instance's daemon, registered; all processes of the instance share them. */
  async enrol(): Promise<DaemonKeys> {
    if (this.#daemon !== undefined) return this.#daemon;
    this.#daemon = { signer: signerFromSeed(randomBytes(32)), sealKeys: await generateSealKeys() };
    this.ring.replace(this.records());
    return this.#daemon;
  }

  /** Every key record; the core's is the first. */
  records(): KeyRecord[] {
    const core: KeyRecord = {
      ...publicKeys(this),
      issuers: ["core"],
      purposes: ["envelope", "ticket"],
      services: ["*"],
      workspaces: ["*"],
      ...ALWAYS,
    };
    if (this.#daemon === undefined) return [core];
    const daemon: KeyRecord = {
      ...publicKeys(this.#daemon),
      issuers: [this.#issuer],
      purposes: ["envelope"],
      services: [this.#service, "core", "vault"],
      workspaces: ["*"],
      ...ALWAYS,
    };
    return [core, daemon];
  }
}

function publicKeys({ signer, sealKeys }: DaemonKeys) {
  return {
    kid: signer.kid,
    public_key_b64u: toBase64url(signer.publicKey),
    seal_b64u: toBase64url(sealKeys.publicKey),
  };
}

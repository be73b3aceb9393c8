/**
 * Decides whether the vault may be used: the key backend answers, and it is the one that wrapped the stored
 * keys.
 */
import { randomBytes } from "node:crypto";
import { FabricError, isFabricError, lengthPrefixed } from "@linkspan/envelopes";
import { KEY_BYTES } from "./aead.ts";
import type { KeyBackend } from "./key-backend.ts";
import type { SecretStore } from "../store/secret-store.ts";
import type { VaultHealth } from "../vault.ts";

const CHECK_CONTEXT = lengthPrefixed(["linkspan.vault.v1 unseal check"]);

export class Unsealing {
  readonly #backend: KeyBackend;
  readonly #store: SecretStore;
  #sealedBecause: string | undefined = "it was not unsealed yet";

  constructor(backend: KeyBackend, store: SecretStore) {
    this.#backend = backend;
    this.#store = store;
  }

  /** @throws FabricError `vault.sealed` */
  assertOpen(): void {
    if (this.#sealedBecause === undefined) return;
    throw new FabricError("vault.sealed", `the vault is sealed: ${this.#sealedBecause}`);
  }

  seal(reason: string): void {
    this.#sealedBecause = reason;
  }

  async unseal(): Promise<VaultHealth> {
    try {
      await this.#proveBackend();
      this.#sealedBecause = undefined;
    } catch (error) {
      this.#sealedBecause = isFabricError(error) ? error.message : "the key backend failed";
    }
    return this.health();
  }

  async health(): Promise<VaultHealth> {
    const backend = this.#backend.kind;
    if (this.#sealedBecause !== undefined) return { state: "sealed", backend, reason: this.#sealedBecause };
    const health = await this.#backend.health();
    if (health.ok) return { state: "open", backend, keyId: health.keyId };
    return { state: "sealed", backend, reason: health.reason };
  }

  /** Rewraps the check value with the backend's newest key, together with the data keys. */
  async rewrap(): Promise<void> {
    await this.#store.transaction(async (tx) => {
      const check = await tx.keys.unsealCheck(() => this.#freshCheck());
      await tx.keys.replaceUnsealCheck(await this.#backend.rewrap(check, CHECK_CONTEXT));
    });
  }

  async #proveBackend(): Promise<void> {
    const health = await this.#backend.health();
    if (!health.ok) throw new FabricError("vault.unavailable", health.reason);
    const check = await this.#store.transaction((tx) => tx.keys.unsealCheck(() => this.#freshCheck()));
    const opened = await this.#backend.unwrap(check, CHECK_CONTEXT).catch((cause: unknown) => {
      throw new FabricError(
        "vault.unavailable",
        "the key backend is not the one that wrapped what is stored",
        {
          cause,
        },
      );
    });
    opened.fill(0);
  }

  async #freshCheck(): Promise<Awaited<ReturnType<KeyBackend["wrap"]>>> {
    const key = randomBytes(KEY_BYTES);
    try {
      return await this.#backend.wrap(key, CHECK_CONTEXT);
    } finally {
      key.fill(0);
    }
  }
}

/**
 * The credentials of one identity, leased from the vault.
 *
 * checked out (a ticket is exchanged for fields sealed to this daemon) → renewed before half of each term is
 * over → released. When the lease cannot be renewed, a new one is taken with a fresh ticket. When that is
 * refused, or the term ends first, the fields are wiped and `lost` is called: the connection must end.
 */
import {
  type CheckoutReply,
  FabricError,
  isFabricError,
  open,
  seal,
  type SealContext,
  sealInfo,
  type SealKeys,
  ticketHash,
} from "@linkspan/envelopes";
import { backoffMs } from "@linkspan/time";
import type { Logger } from "pino";
import type { Clock } from "../shared/clock.ts";
import type { CoreCalls } from "../bus/core-calls.ts";
import type { Secrets } from "../secrets.ts";

export interface CredentialOptions {
  readonly calls: CoreCalls;
  readonly sealKeys: SealKeys;
  /** The key that written-back credentials are sealed to; undefined: the vault has announced no key. */
  readonly vaultSealKey: () => Uint8Array | undefined;
  /** Issuer string of this daemon. */
  readonly daemon: string;
  readonly workspaceId: string;
  readonly identityId: string;
  /** A session ticket that has not expired. */
  readonly ticket: (signal: AbortSignal) => Promise<string>;
  readonly clock: Clock;
  readonly log: Logger;
  readonly lost: (error: FabricError) => void;
}

export class Credentials implements Secrets, AsyncDisposable {
  readonly #options: CredentialOptions;
  readonly #ended = new AbortController();
  readonly #fields = new Map<string, Uint8Array>();
  #lease: { readonly context: SealContext; version: number; untilMs: number } | undefined;
  #keeping: Promise<void> = Promise.resolve();

  private constructor(options: CredentialOptions) {
    this.#options = options;
  }

  /** @throws FabricError `ticket.*`, `vault.*`, `bus.*` */
  static async checkOut(options: CredentialOptions, signal: AbortSignal): Promise<Credentials> {
    const credentials = new Credentials(options);
    try {
      const ttlMs = await credentials.#checkOut(signal);
      credentials.#keeping = credentials.#keep(ttlMs);
      return credentials;
    } catch (error) {
      // The lease may have been taken, but the fields cannot be opened: it is released.
      await credentials[Symbol.asyncDispose]();
      throw error;
    }
  }

  get names(): readonly string[] {
    return [...this.#fields.keys()];
  }

  get(name: string): Uint8Array | undefined {
    return this.#fields.get(name);
  }

  toJSON(): string {
    return "[secret]";
  }

  [Symbol.for("nodejs.util.inspect.custom")](): string {
    return "[secret]";
  }

  /** @throws FabricError `vault.conflict` when a newer version exists, other `vault.*` */
  async writeBack(fields: Readonly<Record<string, Uint8Array>>): Promise<void> {
    const { calls, vaultSealKey, workspaceId } = this.#options;
    const sealKey = vaultSealKey();
    if (this.#lease === undefined || sealKey === undefined) {
      throw new FabricError("vault.unavailable", "there is no credential lease to write back under");
    }
    const { context, version } = this.#lease;
    const sealed = await seal(sealKey, sealInfo(context), fields);
    const reply = await calls.call(
      "vault",
      "write_back",
      { lease_id: context.leaseId, version, sealed },
      { workspaceId },
    );
    this.#lease.version = reply.version;
    this.#replace(copyOf(fields));
  }

  /** Wipes the fields and releases the lease; never rejects. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#ended.abort();
    this.#wipe();
    await this.#keeping;
    const lease = this.#lease;
    this.#lease = undefined;
    if (lease === undefined) return;
    const { calls, workspaceId, log } = this.#options;
    try {
      const lease_id = lease.context.leaseId;
      await calls.call("vault", "release", { lease_id }, { workspaceId, timeoutMs: 2_000 });
    } catch (error) {
      log.debug({ event: "credential.unreleased", err: error });
    }
  }

  async #checkOut(signal: AbortSignal): Promise<number> {
    const { calls, daemon, workspaceId, identityId, clock } = this.#options;
    const ticket = await this.#options.ticket(signal);
    const askedMs = clock.monotonicMs();
    const request = { ticket, scope: "session" } as const;
    const reply = await calls.call("vault", "checkout", request, { workspaceId, signal });
    const context: SealContext = {
      leaseId: reply.lease_id,
      daemon,
      workspaceId,
      identityId,
      ticketHash: ticketHash(ticket),
    };
    this.#lease = { context, version: reply.version, untilMs: askedMs + reply.ttl_ms };
    this.#replace(await this.#opened(context, reply));
    return reply.ttl_ms;
  }

  async #opened(context: SealContext, reply: CheckoutReply): Promise<Record<string, Uint8Array>> {
    if (reply.sealed === undefined) return {};
    return open(this.#options.sealKeys.privateKey, sealInfo(context), reply.sealed);
  }

  async #keep(firstTtlMs: number): Promise<void> {
    const { clock, log } = this.#options;
    const { signal } = this.#ended;
    let waitMs = firstTtlMs / 2;
    let failures = 0;
    while (!signal.aborted) {
      try {
        await clock.sleep(waitMs, signal);
        waitMs = (await this.#renewed(signal)) / 2;
        failures = 0;
      } catch (error) {
        if (signal.aborted) return;
        failures += 1;
        const leftMs = (this.#lease?.untilMs ?? 0) - clock.monotonicMs();
        log.warn({ event: "credential.unrenewed", failures, err: error });
        if (leftMs <= 0 || isRefusal(error)) {
          this.#end(error);
          return;
        }
        waitMs = Math.min(leftMs, backoffMs({ minMs: 500, maxMs: 30_000 }, failures));
      }
    }
  }

  /** @returns the new term, milliseconds */
  async #renewed(signal: AbortSignal): Promise<number> {
    const { calls, clock, workspaceId } = this.#options;
    if (this.#lease === undefined) return this.#checkOut(signal);
    const askedMs = clock.monotonicMs();
    try {
      const lease_id = this.#lease.context.leaseId;
      const { ttl_ms } = await calls.call("vault", "renew", { lease_id }, { workspaceId, signal });
      this.#lease.untilMs = askedMs + ttl_ms;
      return ttl_ms;
    } catch (error) {
      if (!isFabricError(error) || error.code !== "vault.lease_expired") throw error;
      return this.#checkOut(signal);
    }
  }

  #end(error: unknown): void {
    this.#wipe();
    const reason = isFabricError(error)
      ? error
      : new FabricError("vault.unavailable", "the credential lease ended", { cause: error });
    this.#options.lost(reason);
  }

  #replace(fields: Readonly<Record<string, Uint8Array>>): void {
    this.#wipe();
    for (const [name, bytes] of Object.entries(fields)) this.#fields.set(name, bytes);
  }

  #wipe(): void {
    for (const bytes of this.#fields.values()) bytes.fill(0);
    this.#fields.clear();
  }
}

function isRefusal(error: unknown): boolean {
  return isFabricError(error) && (error.code === "vault.revoked" || error.code.startsWith("ticket."));
}

function copyOf(fields: Readonly<Record<string, Uint8Array>>): Record<string, Uint8Array> {
  return Object.fromEntries(Object.entries(fields).map(([name, bytes]) => [name, new Uint8Array(bytes)]));
}

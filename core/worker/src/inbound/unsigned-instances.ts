/**
 * Unsigned daemons of a development namespace do not ask for a lease. A daemon whose envelope arrives becomes
 * the holder of its instance, so that it receives links and intents. A daemon with a key takes the instance
 * over. The lease ends a day after the last envelope.
 */
import { isReserved } from "@linkspan/envelopes";
import { holdUnsigned, type InstanceKey, releaseLeasesOf, UNSIGNED_KID } from "@linkspan/store";
import type { Core } from "../core.ts";
import type { Received } from "./apply.ts";

const TTL_MS = 24 * 60 * 60_000;
const RENEW_EVERY_MS = 60_000;
/**
 * Most instances that this process remembers; when it is reached, all are forgotten and renewed once more.
 */
const MAX_REMEMBERED = 1_000;

export class UnsignedInstances {
  readonly #core: Core;
  /** When each instance was last renewed, by `<service> <instance>`. */
  readonly #renewedAt = new Map<string, number>();

  constructor(core: Core) {
    this.#core = core;
  }

  /**
   * Never fails and never waits: a lease that could not be renewed is renewed at the daemon's next envelope.
   */
  heard(received: readonly Received[]): void {
    if (this.#core.namespace.signatures !== "optional") return;
    for (const { opened } of received) {
      if (opened === undefined || opened.kid !== undefined || isReserved(opened.envelope.service)) continue;
      const { service, metadata } = opened.envelope;
      void this.#renew({ service, instance: metadata.instance });
    }
  }

  async #renew(key: InstanceKey): Promise<void> {
    const { database, log, wakes } = this.#core;
    const name = `${key.service} ${key.instance}`;
    const now = performance.now();
    const last = this.#renewedAt.get(name);
    if (last !== undefined && now - last < RENEW_EVERY_MS) return;
    if (this.#renewedAt.size >= MAX_REMEMBERED) this.#renewedAt.clear();
    this.#renewedAt.set(name, now);
    try {
      if (!(await holdUnsigned(database.pool, key, TTL_MS))) return;
      log.info({ event: "lease.unsigned", ...key }, "an unsigned daemon holds this instance now");
      wakes.local("outbox");
    } catch (error) {
      this.#renewedAt.delete(name);
      log.warn(
        { event: "lease.unsigned_failed", ...key, err: error },
        "the lease could not be renewed; tried again at the daemon's next envelope",
      );
    }
  }
}

/** Releases the leases of unsigned daemons when signatures are required. */
export async function endUnsigned(core: Core): Promise<void> {
  if (core.namespace.signatures === "required") await releaseLeasesOf(core.database.pool, UNSIGNED_KID);
}

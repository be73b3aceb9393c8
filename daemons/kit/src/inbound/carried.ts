/**
 * Events that were read from a platform but not acknowledged when the lease was lost. If this process gets the
 * instance again they go first, under the new epoch: a platform without history would not tell them twice, and for
 * the others the core drops what it has.
 */
import type { PlatformEvent } from "../connector.ts";

export class Carried {
  readonly #events = new Map<string, PlatformEvent[]>();

  /** Adds to what is kept; each stream's own bounds limit it. */
  keep(identityId: string, events: readonly PlatformEvent[]): void {
    if (events.length === 0) return;
    this.#events.set(identityId, [...(this.#events.get(identityId) ?? []), ...events]);
  }

  take(identityId: string): PlatformEvent[] {
    const events = this.#events.get(identityId) ?? [];
    this.#events.delete(identityId);
    return events;
  }

  /** Forgets identities that are served elsewhere now. */
  only(identityIds: { has(identityId: string): boolean }): void {
    for (const id of this.#events.keys()) if (!identityIds.has(id)) this.#events.delete(id);
  }
}

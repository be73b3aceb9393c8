/**
 * Events that were read from a platform but not acknowledged when the lease was lost. If this process gets
 * the instance again, they are published first, under the new epoch: a platform without history would not
 * deliver them twice, and for the other platforms the core drops duplicates.
 */
import type { PlatformEvent } from "../connector.ts";

export class Carried {
  readonly #events = new Map<string, PlatformEvent[]>();

  /** Adds events; each stream's own bounds limit their number. */
  keep(identityId: string, events: readonly PlatformEvent[]): void {
    if (events.length === 0) return;
    this.#events.set(identityId, [...(this.#events.get(identityId) ?? []), ...events]);
  }

  take(identityId: string): PlatformEvent[] {
    const events = this.#events.get(identityId) ?? [];
    this.#events.delete(identityId);
    return events;
  }

  /** Drops identities that another process serves now. */
  only(identityIds: { has(identityId: string): boolean }): void {
    for (const id of this.#events.keys()) if (!identityIds.has(id)) this.#events.delete(id);
  }
}

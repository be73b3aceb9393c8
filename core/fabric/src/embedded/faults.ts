/** Faults that a simulation may cause on the embedded bus; each is asked for whenever it could happen. */
import type { Outgoing } from "../bus.ts";
import type { Random } from "../clock.ts";

export interface Faults {
  /** Milliseconds from a client to the broker; the order of one client's messages is kept. */
  wireMs?(): number;
  /** Milliseconds from a queue to its consumer; the order of one queue is kept. */
  deliverMs?(queue: string): number;
  /** Whether the message arrives twice. */
  duplicates?(message: Outgoing): boolean;
  /** Whether this client loses its connection now. */
  drops?(client: string): boolean;
  /** Milliseconds until a lost connection is back; default 10. */
  reconnectMs?(): number;
}

export interface FaultRates {
  /** Longest delays, milliseconds; each is random between 0 and this. */
  readonly wireMs?: number;
  readonly deliverMs?: number;
  readonly reconnectMs?: number;
  /** Chances per message, 0 to 1. */
  readonly duplicate?: number;
  readonly drop?: number;
}

export function randomFaults(random: Random, rates: FaultRates): Faults {
  const { wireMs = 0, deliverMs = 0, reconnectMs = 100, duplicate = 0, drop = 0 } = rates;
  return {
    wireMs: () => random() * wireMs,
    deliverMs: () => random() * deliverMs,
    duplicates: () => random() < duplicate,
    drops: () => random() < drop,
    reconnectMs: () => random() * reconnectMs,
  };
}

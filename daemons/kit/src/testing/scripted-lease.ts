/** The lease of the one instance that the scripted core knows. */
import type { HelloReply } from "@linkspan/envelopes";

export class ScriptedLease {
  ttlMs = 3_000;
  /** How long a holder may stay connected without sending; undefined: as an older core, which knows one end only. */
  stayMs: number | undefined;
  #holder: { readonly bootId: string; readonly untilMs: number } | undefined;
  #epoch = 0;

  get epoch(): number {
    return this.#epoch;
  }

  /** Takes the lease away, as another process would. */
  seize(): void {
    this.#holder = { bootId: "somebody else", untilMs: performance.now() + 1_000 };
    this.#epoch += 1;
  }

  /** Gives the lease to this process, or extends it, unless another one holds it. */
  claim(bootId: string): HelloReply["lease"] {
    const nowMs = performance.now();
    const holder = this.#holder;
    if (holder !== undefined && holder.untilMs > nowMs && holder.bootId !== bootId)
      return { state: "taken", retry_after_ms: 100 };
    if (holder?.bootId !== bootId) this.#epoch += 1;
    this.#holder = { bootId, untilMs: nowMs + this.ttlMs };
    return {
      state: "held",
      epoch: this.#epoch,
      ttl_ms: this.ttlMs,
      ...(this.stayMs !== undefined && { stay_ms: this.stayMs }),
    };
  }
}

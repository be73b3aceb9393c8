/**
 * What this process knows of parts it was once allowed to say, for the case that it is asked again: the one
 * thing between a repeated publish and a repeated message when the core did not hear the outcome.
 */
import type { ErrorCode } from "@linkspan/envelopes";
import type { Said } from "../connector.ts";

export type Outcome =
  | { readonly kind: "said"; readonly said: Said }
  /** Certainly not said, and never will be: the platform refused it. */
  | { readonly kind: "refused"; readonly code: ErrorCode }
  /** Certainly not said yet. */
  | { readonly kind: "unsaid"; readonly code: ErrorCode }
  /** Touched; nobody knows. */
  | { readonly kind: "doubtful" };

export class Memory {
  readonly #outcomes = new Map<string, Outcome>();
  readonly #size: number;

  constructor(size = 8_192) {
    this.#size = size;
  }

  recall(key: string): Outcome | undefined {
    return this.#outcomes.get(key);
  }

  remember(key: string, outcome: Outcome): void {
    this.#outcomes.delete(key);
    this.#outcomes.set(key, outcome);
    if (this.#outcomes.size <= this.#size) return;
    const [oldest] = this.#outcomes.keys();
    if (oldest !== undefined) this.#outcomes.delete(oldest);
  }
}

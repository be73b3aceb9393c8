/**
 * When a message that fails alone with an unknown error is taken as the cause of its own failures.
 *
 * An unknown error says nothing about who causes it, so one failure proves nothing, however often it comes:
 * a database that nobody recognised as such fails every message. A message is at fault, and not its
 * surroundings, when others succeed meanwhile. So a failure counts only when another message of the same
 * subscription was handled successfully since this message's failure before, and it is proven after
 * `failures` of them that took at least `overMs`. A failure that the surroundings cause starts the count again.
 *
 * Where nothing else succeeds (a queue with one key, an outage), nothing is ever proven: the message is tried
 * for as long as it takes, and reported.
 */
import type { Proof } from "../backoff.ts";

export class Failures {
  /** How often it was rejected alone, for whatever reason. */
  alone = 0;
  /** Time of the first of them. */
  readonly since: number;
  #counted = 0;
  #countingSince: number;
  #successes: number;

  /** @param successes batches of this subscription in which something succeeded, until now */
  constructor(now: number, successes: number) {
    this.since = now;
    this.#countingSince = now;
    this.#successes = successes;
  }

  /** @returns whether it is proven now that the message causes it */
  unknown({ failures, overMs }: Proof, now: number, successes: number): boolean {
    this.alone++;
    if (successes > this.#successes) this.#counted++;
    this.#successes = successes;
    return this.#counted >= failures && now - this.#countingSince >= overMs;
  }

  surroundings(now: number, successes: number): void {
    this.alone++;
    this.#counted = 0;
    this.#countingSince = now;
    this.#successes = successes;
  }
}

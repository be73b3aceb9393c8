/**
 * Which deliveries of one channel are settled. The contiguous prefix is acknowledged at once with one
 * frame; what is settled beyond a gap (a held message) one by one, so that a held message never keeps
 * others in the broker's window.
 */
export interface Acks {
  ack(tag: number, multiple: boolean): void;
}

export class AckWindow {
  readonly #acks: Acks;
  /** The lowest tag not settled. */
  #next = 1;
  /** Settled and acknowledged beyond the prefix. */
  readonly #beyond = new Set<number>();

  constructor(acks: Acks) {
    this.#acks = acks;
  }

  settle(tags: readonly number[]): void {
    const settled = isRising(tags) ? tags : tags.toSorted((a, b) => a - b);
    let last = 0;
    let at = 0;
    for (; at < settled.length && settled[at] === this.#next; at++) {
      last = this.#next++;
      while (this.#beyond.delete(this.#next)) this.#next++;
    }
    // The broker refuses a tag that it has forgotten: the last is one not yet acknowledged.
    if (last > 0) this.#acks.ack(last, true);
    for (; at < settled.length; at++) {
      const tag = settled[at] as number;
      this.#beyond.add(tag);
      this.#acks.ack(tag, false);
    }
  }
}

function isRising(tags: readonly number[]): boolean {
  for (let at = 1; at < tags.length; at++) if ((tags[at] as number) < (tags[at - 1] as number)) return false;
  return true;
}

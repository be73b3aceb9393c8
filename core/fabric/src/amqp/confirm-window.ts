/** Messages that were published on one channel and are not confirmed yet, by delivery tag. */
export class ConfirmWindow<T> {
  #slots: (T | undefined)[] = [];
  #head = 0;
  /** The delivery tag of the slot at `#head`. */
  #firstTag = 1;

  /** The next delivery tag belongs to it: call in the order of publication. */
  push(sent: T): void {
    this.#slots.push(sent);
  }

  /** Takes out what this confirm covers, in order. */
  confirm(tag: number, multiple: boolean, settle: (sent: T) => void): void {
    if (!multiple && tag !== this.#firstTag) {
      const at = this.#head + tag - this.#firstTag;
      const sent = this.#slots[at];
      this.#slots[at] = undefined;
      if (sent !== undefined) settle(sent);
      return;
    }
    while (this.#firstTag <= tag && this.#head < this.#slots.length) {
      const sent = this.#slots[this.#head];
      this.#advance();
      if (sent !== undefined) settle(sent);
    }
    while (this.#head < this.#slots.length && this.#slots[this.#head] === undefined) this.#advance();
    this.#tidy();
  }

  /** The first that is not confirmed. */
  get oldest(): T | undefined {
    const [first] = this;
    return first;
  }

  *[Symbol.iterator](): IterableIterator<T> {
    for (let at = this.#head; at < this.#slots.length; at++) {
      const sent = this.#slots[at];
      if (sent !== undefined) yield sent;
    }
  }

  #advance(): void {
    this.#slots[this.#head++] = undefined;
    this.#firstTag++;
  }

  #tidy(): void {
    if (this.#head === this.#slots.length) {
      this.#slots.length = 0;
      this.#head = 0;
    } else if (this.#head > 4_096) {
      this.#slots = this.#slots.slice(this.#head);
      this.#head = 0;
    }
  }
}

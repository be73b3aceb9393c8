/**
 * Which message a broker refuses for good. It closes the channel and does not say because of which message: those
 * that were on the wire are then sent one by one, and the one that closes it again is the one that is refused.
 */
export class Suspects {
  #count = 0;

  get any(): boolean {
    return this.#count > 0;
  }

  /** One that was on the wire has been confirmed or refused by itself. */
  cleared(): void {
    if (this.#count > 0) this.#count--;
  }

  /** The channel is closed. @returns whether the first message on the wire is proven to be refused */
  closed(fault: unknown, onTheWire: number): boolean {
    if (!isRefusal(fault)) return false;
    if (this.#count === 0 || onTheWire === 0) {
      this.#count = onTheWire;
      return false;
    }
    this.#count--;
    return true;
  }
}

/** ACCESS_REFUSED and PRECONDITION_FAILED: about one message, and for good. */
function isRefusal(fault: unknown): boolean {
  return fault instanceof Error && "code" in fault && (fault.code === 403 || fault.code === 406);
}

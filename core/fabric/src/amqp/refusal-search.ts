/**
 * Finds the message that a broker refuses for good. The broker closes the channel and does not say because of which
 * message: those that were on the wire are then sent one by one, and the one that closes it again is refused.
 */
export class RefusalSearch {
  /** Messages that are to be sent one by one. */
  #count = 0;

  get isRunning(): boolean {
    return this.#count > 0;
  }

  /** One that was on the wire has been confirmed or refused by itself. */
  settled(): void {
    if (this.#count > 0) this.#count--;
  }

  /** The channel is closed. @returns whether the first message on the wire is proven to be refused */
  isFound(fault: unknown, onTheWire: number): boolean {
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

/**
 * The messages of one destination (service, instance and partition), which are in order among themselves.
 *
 * A broker that has just started refuses (nacks) what its queue cannot take yet: with many on the wire the
 * first would be refused and later ones taken. So a lane is tried with one message, and opens when that is
 * confirmed. A refusal closes it: what was refused and all behind it waits, and is tried again.
 */
import { Deque } from "../deque.ts";

/** What a lane looks at of a message. */
interface Ordered {
  /** In the order of publishing. */
  readonly order: number;
  /** Nobody waits for it any more. */
  readonly over: boolean;
}

export class Lane<Message extends Ordered = Ordered> {
  readonly name: string;
  /** Behind what closed the lane. */
  readonly parked = new Deque<Message>();
  /** Refusals in a row. */
  failures = 0;
  #open = false;
  #resting = false;
  #inFlight = 0;
  #refused: Message[] = [];

  constructor(name: string) {
    this.name = name;
  }

  /** A message has been confirmed, and none refused since. */
  get isOpen(): boolean {
    return this.#open;
  }

  /** Whether the next message may go on the wire. */
  get isClear(): boolean {
    return this.#open || (this.#inFlight === 0 && !this.#resting);
  }

  sent(): void {
    this.#inFlight++;
  }

  /** @returns `go`: what is parked may go on; `rest`: try again later; `wait`: more is on the wire */
  settled(sending: Message, confirmed: boolean): "go" | "rest" | "wait" {
    this.#inFlight--;
    if (!confirmed) {
      this.#open = false;
      this.#refused.push(sending);
    }
    if (this.#refused.length > 0) return this.#inFlight > 0 ? "wait" : this.#rest();
    this.#open = true;
    this.failures = 0;
    return "go";
  }

  /** The next message may try whether the destination is back. */
  rested(): void {
    this.#resting = false;
  }

  /** Forgets what nobody waits for. */
  compact(): void {
    const kept = [...this.parked].filter(({ over }) => !over);
    this.parked.clear();
    for (const sending of kept) this.parked.push(sending);
  }

  /** The channel is gone. @returns what waits here, in no particular order */
  reset(): Message[] {
    const waiting = [...this.#refused, ...this.parked];
    this.parked.clear();
    this.#refused = [];
    this.#open = false;
    this.#resting = false;
    this.#inFlight = 0;
    return waiting;
  }

  #rest(): "rest" {
    this.parked.unshift(this.#refused.sort((a, b) => a.order - b.order));
    this.#refused = [];
    this.#resting = true;
    this.failures++;
    return "rest";
  }
}

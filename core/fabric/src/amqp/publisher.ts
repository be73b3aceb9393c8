/**
 * Publishes with confirms. A bounded window is on the wire, the rest waits in order; after a lost channel
 * the unconfirmed go first again, in order. A blocked connection or a full socket pauses it.
 *
 * A channel that the broker closes because of a message does not say which: those that were on the wire
 * are then sent one by one, and the one that closes it again is the one that is refused.
 */
import { FabricError } from "@linkspan/envelopes";
import type { ConfirmChannel, Message } from "amqplib";
import { Deque } from "../deque.ts";
import { ConfirmWindow } from "./confirm-window.ts";
import { type Encoded, EXCHANGE } from "./wire.ts";

interface Sending extends Encoded {
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
  /** The broker had no queue for it. */
  returned: boolean;
  /** Its publisher does not wait any more. */
  over: boolean;
}

export interface PublisherOptions {
  readonly maxCount: number;
  readonly maxBytes: number;
  readonly maxWaiting: number;
  /** The broker closed the channel although the connection is up; a new one is needed. */
  readonly onChannelLost: () => void;
}

export class Publisher {
  readonly #options: PublisherOptions;
  readonly #waiting = new Deque<Sending>();
  #window = new ConfirmWindow<Sending>();
  #channel: ConfirmChannel | undefined;
  #count = 0;
  #bytes = 0;
  #suspects = 0;
  #congested = false;
  #blocked: string | undefined;
  #closed = false;
  #idle: (() => void) | undefined;

  constructor(options: PublisherOptions) {
    this.#options = options;
  }

  get blocked(): string | undefined {
    return this.#blocked;
  }

  /** @throws FabricError (rejects) `bus.unroutable`, `bus.unavailable`, `bus.timeout` */
  publish(encoded: Encoded, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#closed) {
        reject(new FabricError("bus.unavailable", "this bus is closed"));
        return;
      }
      if (this.#waiting.size >= this.#options.maxWaiting) {
        reject(new FabricError("bus.unavailable", "too many publishes wait for the broker"));
        return;
      }
      const { key, content, options } = encoded;
      let sending: Sending = { key, content, options, resolve, reject, returned: false, over: false };
      if (signal !== undefined) sending = abortable(sending, signal);
      if (sending.over) return;
      this.#waiting.push(sending);
      this.#flush();
    });
  }

  /** A fresh confirm channel: sends again what is unconfirmed, then goes on. */
  attach(channel: ConfirmChannel): void {
    this.detach();
    this.#channel = channel;
    this.#congested = false;
    let fault: unknown;
    channel.on("ack", ({ deliveryTag, multiple }) => this.#confirmed(channel, deliveryTag, multiple, true));
    channel.on("nack", ({ deliveryTag, multiple }) => this.#confirmed(channel, deliveryTag, multiple, false));
    channel.on("return", (message) => this.#returned(message));
    channel.on("drain", () => {
      this.#congested = false;
      this.#flush();
    });
    channel.on("error", (error) => {
      fault = error;
    });
    channel.on("close", () => {
      if (this.#channel !== channel) return;
      this.#accuse(fault);
      this.detach();
      this.#options.onChannelLost();
    });
    this.#flush();
  }

  /** The channel is gone: what was on the wire waits again, before everything newer. */
  detach(): void {
    this.#channel = undefined;
    this.#blocked = undefined;
    const unconfirmed = [...this.#window].filter((sending) => !sending.over);
    for (const sending of unconfirmed) sending.returned = false;
    this.#window = new ConfirmWindow();
    this.#count = 0;
    this.#bytes = 0;
    this.#waiting.unshift(...unconfirmed);
  }

  pause(reason: string): void {
    this.#blocked = reason;
  }

  resume(): void {
    this.#blocked = undefined;
    this.#flush();
  }

  /** Resolves when nothing is unconfirmed. */
  flushed(): Promise<void> {
    if (this.#isIdle()) return Promise.resolve();
    const { promise, resolve } = Promise.withResolvers<void>();
    const before = this.#idle;
    this.#idle = () => {
      before?.();
      resolve();
    };
    return promise;
  }

  close(error: FabricError): void {
    this.#closed = true;
    this.detach();
    for (const sending of this.#waiting) if (!sending.over) sending.reject(error);
    this.#waiting.clear();
  }

  #flush(): void {
    while (this.#channel !== undefined && !this.#congested && this.#blocked === undefined) {
      const next = this.#waiting.peek();
      if (next === undefined) break;
      if (next.over) {
        this.#waiting.shift();
        continue;
      }
      if (!this.#hasRoom(next.content.length)) break;
      if (!this.#transmit(this.#channel, next)) break;
      this.#waiting.shift();
    }
    if (this.#idle !== undefined && this.#isIdle()) {
      this.#idle();
      this.#idle = undefined;
    }
  }

  /** @returns false when the channel is closing: it waits for the next */
  #transmit(channel: ConfirmChannel, sending: Sending): boolean {
    try {
      this.#congested = !channel.publish(EXCHANGE, sending.key, sending.content, sending.options);
    } catch {
      // A closed channel throws; it has told, or is about to tell, `close`.
      this.#congested = true;
      return false;
    }
    this.#window.push(sending);
    this.#count++;
    this.#bytes += sending.content.length;
    return true;
  }

  #hasRoom(bytes: number): boolean {
    if (this.#count === 0) return true;
    if (this.#suspects > 0) return false;
    return this.#count < this.#options.maxCount && this.#bytes + bytes <= this.#options.maxBytes;
  }

  #confirmed(channel: ConfirmChannel, tag: number, multiple: boolean, ok: boolean): void {
    if (channel !== this.#channel) return;
    this.#window.confirm(tag, multiple, (sending) => {
      this.#count--;
      this.#bytes -= sending.content.length;
      if (this.#suspects > 0) this.#suspects--;
      if (sending.over) return;
      sending.over = true;
      if (!ok) sending.reject(new FabricError("bus.unavailable", "the broker could not keep the message"));
      else if (sending.returned) sending.reject(unroutable(sending.key));
      else sending.resolve();
    });
    this.#flush();
  }

  /** Comes before its confirm; the broker returns in the order of publication. */
  #returned({ fields, properties }: Message): void {
    for (const sending of this.#window) {
      if (sending.returned || sending.key !== fields.routingKey) continue;
      if (sending.options.messageId !== properties.messageId) continue;
      sending.returned = true;
      return;
    }
  }

  #accuse(fault: unknown): void {
    if (!isRefusal(fault)) return;
    const [first] = this.#window;
    if (this.#suspects === 0 || first === undefined) {
      this.#suspects = this.#count;
      return;
    }
    this.#suspects--;
    first.over = true;
    first.reject(new FabricError("bus.unroutable", `the broker refuses ${first.key}`, { cause: fault }));
  }

  #isIdle(): boolean {
    return this.#count === 0 && this.#waiting.size === 0;
  }
}

function unroutable(key: string): FabricError {
  return new FabricError("bus.unroutable", `no queue takes ${key}`);
}

/** ACCESS_REFUSED and PRECONDITION_FAILED: about one message, and for good. */
function isRefusal(fault: unknown): boolean {
  return fault instanceof Error && "code" in fault && (fault.code === 403 || fault.code === 406);
}

function abortable(plain: Sending, signal: AbortSignal): Sending {
  const giveUp = (): void => {
    sending.over = true;
    plain.reject(new FabricError("bus.timeout", "the publish was called off"));
  };
  const sending: Sending = {
    ...plain,
    resolve: () => {
      signal.removeEventListener("abort", giveUp);
      plain.resolve();
    },
    reject: (error) => {
      signal.removeEventListener("abort", giveUp);
      plain.reject(error);
    },
  };
  if (signal.aborted) giveUp();
  else signal.addEventListener("abort", giveUp, { once: true });
  return sending;
}

/** Hands requests straight to the vault's handler, as a bus would, and keeps what it answers. */
import type { Bus, Delivery, Handler, Outgoing, Subscription, Verdict } from "@linkspan/fabric";

export interface Handled {
  readonly verdict: Verdict;
  readonly reply: Outgoing | undefined;
}

export class DirectBus implements Pick<Bus, "subscribe" | "reply"> {
  /** Everything that was ever answered. */
  readonly replies: Outgoing[] = [];
  /** Set: answering fails with it. */
  fails: Error | undefined;
  #handle: ((batch: readonly Delivery[]) => Promise<readonly Verdict[]>) | undefined;

  async subscribe<P>(queue: { readonly name: string }, handler: Handler<P>): Promise<Subscription> {
    this.#handle = async (batch) => {
      const values = handler.prepare === undefined ? [] : await handler.prepare(batch);
      return handler.handle(batch.map((delivery, i) => ({ delivery, value: values[i] as P })));
    };
    const stop = async (): Promise<void> => {
      this.#handle = undefined;
    };
    return { queue: queue.name, drain: stop, [Symbol.asyncDispose]: stop };
  }

  async reply(to: string, message: Outgoing): Promise<void> {
    if (this.fails !== undefined) throw this.fails;
    if (to !== "reply.here") throw new Error("answered to another address");
    this.replies.push(message);
  }

  async deliver(message: Outgoing, attempt = 1): Promise<Handled> {
    const { kid, sig, body, route, messageId } = message;
    const delivery: Delivery = {
      route,
      body,
      kid,
      sig,
      messageId,
      inReplyTo: undefined,
      correlationId: undefined,
      replyTo: "reply.here",
      traceparent: undefined,
      redelivered: attempt > 1,
      attempt,
      death: undefined,
    };
    const [verdict] = (await this.#handle?.([delivery])) ?? [];
    if (verdict === undefined) throw new Error("nobody serves the vault");
    return { verdict, reply: this.replies.findLast(({ inReplyTo }) => inReplyTo === messageId) };
  }
}

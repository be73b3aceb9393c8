import type { ChannelModel } from "amqplib";
import type { Binding, Handler, QueueSpec } from "../bus.ts";
import type { BusListener } from "../events.ts";
import type { IntakeOptions, Limits } from "../intake/options.ts";
import type { Publisher } from "./publisher.ts";
import type { Wire } from "./wire.ts";

export interface AmqpSubscriptionOptions<P> {
  readonly spec: QueueSpec;
  readonly handler: Handler<P>;
  readonly limits: Limits;
  readonly wire: Wire;
  readonly publisher: Publisher;
  /** The consuming connection while it is up. */
  readonly connection: () => ChannelModel | undefined;
  /** Bindings that this client declared for the queue. */
  readonly declared: () => readonly Binding[];
  /** Declares again what this client has declared. */
  readonly repair: () => Promise<void>;
  readonly onDrained: () => void;
  readonly intake: Pick<IntakeOptions<P>, "clock" | "random" | "patience" | "observe" | "onStuck">;
  readonly listener: BusListener | undefined;
}

/** What a client of the embedded broker, and its subscriptions, ask of the broker. */
import type { Death, Delivery, Outgoing, QueueSpec, ReplyAddress } from "../bus.ts";
import type { Patience } from "../backoff.ts";
import type { Clock, Random } from "../clock.ts";
import type { Faults } from "./faults.ts";
import type { Queue } from "./queue.ts";
import type { Publication, Receipt } from "./receipt.ts";

export interface Exchange {
  readonly clock: Clock;
  readonly random: Random;
  readonly faults: Faults;
  readonly patience: Patience | undefined;
  readonly maxUnconfirmedBytes: number;
  declare(queues: readonly QueueSpec[]): void;
  /** @throws FabricError `bus.unavailable` */
  checkDeclared(queue: QueueSpec): void;
  /** The queue to consume; a transient one is made here and lives with its subscriber. */
  open(queue: QueueSpec): Queue;
  /** A consumer has gone from it. */
  release(queue: Queue): void;
  route(message: Outgoing, publication: Publication): void;
  /** Hands an answer to the one client that it is for. */
  answer(address: ReplyAddress, delivery: Delivery): void;
  /** Its publisher waits for the dead-letter consumer now, or learns why it died. */
  deadLetter(message: Outgoing, receipt: Receipt | undefined, death: Death): void;
  disconnect(address: ReplyAddress): void;
}

import type { Clock, Random } from "../clock.ts";
import type { BusListener } from "../events.ts";

export interface PublisherOptions {
  readonly maxCount: number;
  readonly maxBytes: number;
  readonly maxWaiting: number;
  /** Of all publishes that are not decided. */
  readonly maxWaitingBytes: number;
  readonly confirmTimeoutMs: number;
  readonly clock: Clock;
  readonly random: Random;
  readonly listener: BusListener | undefined;
  /** The channel is closed although the connection is up; a new one is needed. */
  readonly onChannelLost: (reason: unknown) => void;
}

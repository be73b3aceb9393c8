/** Events of a bus for its owner to log: names and counts, never contents. */
import type { ErrorCode } from "@linkspan/envelopes";

/** Publishing and consuming have connections of their own; the embedded bus has one. */
export type LinkName = "publish" | "consume" | "embedded";

export type BusEvent =
  | { readonly event: "bus.up"; readonly link: LinkName; readonly attempt: number }
  | {
      readonly event: "bus.down";
      readonly link: LinkName;
      readonly reason: string;
      readonly retryInMs: number;
    }
  | { readonly event: "bus.blocked"; readonly reason: string }
  | { readonly event: "bus.unblocked" }
  | { readonly event: "bus.fault"; readonly queue?: string; readonly reason: string }
  | {
      readonly event: "bus.batch_rejected";
      readonly queue: string;
      readonly size: number;
      readonly error: unknown;
      readonly retryInMs: number;
    }
  | {
      /** It fails alone again and again; told after some failures and at each doubling. */
      readonly event: "bus.message_stuck";
      readonly queue: string;
      readonly messageId: string | undefined;
      readonly failures: number;
      readonly forMs: number;
      readonly error: unknown;
    }
  | {
      readonly event: "bus.dead_lettered";
      readonly queue: string;
      readonly messageId: string | undefined;
      readonly code: ErrorCode;
      readonly detail: string;
    };

export type BusListener = (event: BusEvent) => void;

/** Input of decoding: the bytes as a transport hands them over, and what they are compared with. */
import type { KeyRing } from "../proofs/keys.ts";
import type { Route, Topic } from "../names/topics.ts";

/** Handed over by a transport. `body` is kept, never copied or changed. */
export interface Received {
  readonly body: Uint8Array;
  readonly kid: string | undefined;
  /** Base64url, no padding. */
  readonly sig: string | undefined;
  /** Where it arrived; checked when given. */
  readonly topic?: Topic;
  readonly route?: Route;
}

export interface DecodeOptions {
  readonly keys: KeyRing;
  readonly now: Date;
  /** The namespace's count, default 8; needed to check a `route`. */
  readonly partitions?: number;
  /** `optional` takes unsigned envelopes of foreign daemons; development namespaces only. */
  readonly signatures?: "required" | "optional";
  /** Workspace of a foreign daemon's envelopes that name none, default `_`. */
  readonly foreignWorkspace?: string;
  /** The message that a foreign daemon's envelope answers, from the transport, where the envelope does not name it. */
  readonly foreignInReplyTo?: string;
}

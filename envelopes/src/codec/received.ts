/** What decoding starts from: the bytes as a transport hands them over, and what they are held against. */
import type { KeyRing } from "../proofs/keys.ts";
import type { Route, Topic } from "../names/topics.ts";

/** What a transport hands over. `body` is kept, never copied or changed. */
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
  /** What a foreign daemon's envelope answers where it does not say so itself: the transport's word. */
  readonly foreignInReplyTo?: string;
}

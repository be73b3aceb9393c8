import type { Capabilities } from "@linkspan/daemon-kit";
import { MAX_PART_BYTES } from "./outbound.ts";

/** Everything: what a fake refuses cannot be tested with it. */
export const CAPABILITIES: Capabilities = {
  send: ["text"],
  edit: true,
  delete: true,
  reaction: true,
  typing: true,
  read: true,
  history: true,
  roster: true,
  maxPartBytes: MAX_PART_BYTES,
  pace: { perSecond: 2_000, burst: 2_000 },
  entities: ["bold", "italic", "underline", "strike", "code", "pre", "link", "mention", "spoiler", "quote"],
};

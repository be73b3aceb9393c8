/** What users may expect of IRC. What only some servers offer is not promised here. */
import type { Capabilities } from "@linkspan/daemon-kit";
import { textBytes } from "./outbound.ts";

/**
 * Lines per second and at once that every server in use bears from one client. The measure of `Part.cost`: a
 * network with another pace makes its parts cheaper or dearer.
 */
export const PACE = { perSecond: 1, burst: 8 } as const;

export const CAPABILITIES: Capabilities = {
  send: ["outbound_message", "join_channel", "leave_channel"],
  edit: false,
  delete: false,
  reaction: false,
  typing: false,
  read: false,
  history: true,
  roster: true,
  maxPartBytes: textBytes("PRIVMSG", "#"),
  pace: PACE,
  entities: ["bold", "italic", "underline", "strike", "code", "pre", "spoiler", "link", "quote"],
};

/** Events as the store takes them, for its tests. */
import { createHash } from "node:crypto";
import type { NewEvent } from "@linkspan/store";

export const digest = (text: string) => createHash("sha256").update(text).digest();

/** One event of workspace `acme`; its body says its name. */
export function newEvent(name: string, over: Partial<NewEvent> = {}): NewEvent {
  return {
    workspaceId: "acme",
    messageId: digest(name),
    content: digest(`content ${name}`),
    leaf: digest(`leaf ${name}`),
    service: "irc",
    account: "alice",
    conversation: "msgr://channels/acme/bridge/irc/libera/%23a",
    fanOut: true,
    kid: "kid",
    sig: "sig",
    body: Buffer.from(name),
    ...over,
  };
}

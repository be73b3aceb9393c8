/** The hash that a ticket binds an intent to, where it is published in another form than it was recorded in. */
import { contentHash, type Metadata, SCHEMA } from "@linkspan/envelopes";

export function intentHash(
  action: string,
  payload: Readonly<Record<string, unknown>>,
  metadata: Pick<Metadata, "user_id" | "identity_id" | "conversation">,
): Uint8Array {
  return contentHash({
    schema: SCHEMA,
    service: "",
    action,
    trace_id: "",
    occurred_at: "",
    metadata: { issuer: "core", workspace_id: "", instance: "", message_id: "", ...metadata },
    payload,
  });
}

/** An admitted event as the row that it may become. */
import { contentHash, type InboundEvent, leafHash } from "@linkspan/envelopes";
import type { NewEvent } from "@linkspan/store";
import type { Admitted } from "./admit.ts";
import { keyOf } from "./keys.ts";

export interface Candidate {
  readonly admitted: Admitted;
  /** `<hexadecimal message id>@<workspace>`. */
  readonly key: string;
  readonly row: Omit<NewEvent, "fanOut" | "senderIdentity">;
  /** Absent on a batch of history, which is stored but is not an event itself. */
  readonly event: InboundEvent | undefined;
}

export function toCandidate(admitted: Admitted): Candidate {
  const { envelope, body, kid } = admitted.opened;
  const { metadata } = envelope;
  const { batch } = admitted;
  const { payload, conversation } = admitted.event ?? {
    payload: envelope.payload,
    conversation: metadata.conversation,
  };
  // A batch of history carries no id that its content implies.
  const messageId =
    admitted.event === undefined ? keyOfBatch(admitted) : Buffer.from(metadata.message_id, "base64url");
  return {
    admitted,
    key: `${messageId.toString("hex")}@${metadata.workspace_id}`,
    event: admitted.event?.payload,
    row: {
      workspaceId: metadata.workspace_id,
      messageId,
      content: contentHash({ ...envelope, action: admitted.opened.action.canonical, payload }),
      leaf: leafHash(body),
      service: envelope.service,
      account: String(payload.account),
      conversation,
      kid,
      sig: kid === undefined ? undefined : admitted.delivery.sig,
      body,
      batchId: batch === undefined ? undefined : keyOfBatch(batch),
    },
  };
}

function keyOfBatch({ opened: { action, envelope } }: Admitted): Buffer {
  return keyOf(action.canonical, String(envelope.payload.account), envelope.metadata.message_id);
}

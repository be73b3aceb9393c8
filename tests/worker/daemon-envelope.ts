/** Envelopes of a daemon that holds `irc/primary`, as they are after their signature was checked. */
import { randomUUID } from "node:crypto";
import { type Envelope, SCHEMA } from "@linkspan/envelopes";

export const WORKSPACE = "acme";
const ISSUER = "daemon:irc:primary";

export interface Speaker {
  readonly identityId: string;
  readonly epoch: number;
}

export function daemonEnvelope(
  { identityId, epoch }: Speaker,
  service: string,
  action: string,
  payload: Record<string, unknown>,
): Envelope {
  return {
    schema: SCHEMA,
    service,
    action,
    trace_id: randomUUID(),
    occurred_at: new Date().toISOString(),
    metadata: {
      issuer: ISSUER,
      workspace_id: WORKSPACE,
      instance: "primary",
      message_id: randomUUID(),
      identity_id: identityId,
      epoch,
    },
    payload,
  };
}

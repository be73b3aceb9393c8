/**
 * Telling daemons what is safe. One envelope per account and batch; it expires after a minute and nobody
 * waits for it, because a daemon that missed one asks again by `resume` or by sending the event once more.
 */
import { NAMESPACE_WORKSPACE } from "@linkspan/envelopes";
import type { Core } from "../core.ts";
import { freshNoteId, outgoing } from "../send.ts";

export interface Acked {
  readonly service: string;
  readonly instance: string;
  readonly workspaceId: string | undefined;
  readonly account: string;
  readonly messageId: string;
  readonly status: "persisted" | "quarantined";
  readonly code?: string;
}

const TTL_MS = 60_000;
/** Bound on ids in one envelope; an ack of 1,000 is about 75 KB. */
const MAX_PER_ENVELOPE = 1_000;

/** Msgr's names; other services use the canonical one. */
const ACTION: Readonly<Record<string, string>> = {
  telegram: "ack_update",
  matrix: "ack_sync",
  irc: "ack_offset",
  xmpp: "ack_receipt",
};

export function sendAcks(core: Core, acks: readonly Acked[]): void {
  for (const group of byAccount(acks)) {
    for (let from = 0; from < group.length; from += MAX_PER_ENVELOPE) {
      publishAck(core, group.slice(from, from + MAX_PER_ENVELOPE));
    }
  }
}

function byAccount(acks: readonly Acked[]): Acked[][] {
  const groups = new Map<string, Acked[]>();
  for (const ack of acks) {
    const key = `${ack.service} ${ack.instance} ${ack.workspaceId ?? ""} ${ack.account}`;
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [ack]);
    else group.push(ack);
  }
  return [...groups.values()];
}

function publishAck(core: Core, group: readonly Acked[]): void {
  const [first] = group;
  if (first === undefined) return;
  const action = ACTION[first.service] ?? "ack_event";
  const message = outgoing(
    core,
    {
      service: first.service,
      instance: first.instance,
      action,
      workspaceId: first.workspaceId ?? NAMESPACE_WORKSPACE,
      messageId: freshNoteId(action),
      payload: {
        account: first.account,
        acked: group.map(({ messageId, status, code }) => ({
          message_id: messageId,
          status,
          ...(code !== undefined && { code }),
        })),
      },
    },
    { mandatory: false, ttlMs: TTL_MS },
  );
  core.bus.publish(message).catch((error: unknown) => {
    core.log.debug({ event: "ack.dropped", service: first.service, err: error }, "an ack was not delivered");
  });
}

/**
 * Telling daemons what is safe. One envelope per account and batch; it expires after a minute and nobody
 * waits for it, because a daemon that missed one asks again by `resume` or by sending the event once more.
 */
import { LIMITS, NAMESPACE_WORKSPACE } from "@linkspan/envelopes";
import type { Outgoing } from "@linkspan/fabric";
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
/** While the broker takes nothing, acks beyond this many bytes are dropped: nobody depends on one. */
const MAX_BYTES_IN_FLIGHT = 8 * 1_048_576;

/** Msgr's names; other services use the canonical one. */
const ACTION: Readonly<Record<string, string>> = {
  telegram: "ack_update",
  matrix: "ack_sync",
  irc: "ack_offset",
  xmpp: "ack_receipt",
};

export class Acknowledger {
  readonly #core: Core;
  #bytesInFlight = 0;

  constructor(core: Core) {
    this.#core = core;
  }

  /** Never fails and never waits: what cannot be told is told when it is asked for. */
  send(acks: readonly Acked[]): void {
    for (const group of byAccount(acks)) {
      for (let from = 0; from < group.length; from += LIMITS.acked) {
        this.#publish(group.slice(from, from + LIMITS.acked));
      }
    }
  }

  #publish(group: readonly Acked[]): void {
    const { log, bus } = this.#core;
    const dropped = (error: unknown) =>
      log.debug({ event: "ack.dropped", service: group[0]?.service, err: error }, "an ack was not delivered");
    try {
      const message = ackOf(this.#core, group);
      const bytes = message?.body.length ?? 0;
      if (message === undefined || this.#bytesInFlight + bytes > MAX_BYTES_IN_FLIGHT) return;
      this.#bytesInFlight += bytes;
      bus
        .publish(message)
        .catch(dropped)
        .finally(() => (this.#bytesInFlight -= bytes));
    } catch (error) {
      // Such as for a sender whose route names a service that is not ours.
      dropped(error);
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

function ackOf(core: Core, group: readonly Acked[]): Outgoing | undefined {
  const [first] = group;
  if (first === undefined) return undefined;
  const action = ACTION[first.service] ?? "ack_event";
  return outgoing(
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
}

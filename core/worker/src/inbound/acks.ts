/**
 * Tells daemons which events are stored. One envelope per account and batch. It expires after a minute and
 * nobody waits for it, because a daemon that missed one asks again by `resume` or sends the event once more.
 *
 * Each message carries the cursor that its event gave and Msgr's own fields of the service. Those of the
 * newest message are repeated at top level, where Msgr's SDKs read them.
 */
import { type AckedEvent, ackFields, LIMITS, NAMESPACE_WORKSPACE, timestamp } from "@linkspan/envelopes";
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
  /** The event, when it was one and could be read. */
  readonly event?: AckedEvent;
}

const TTL_MS = 60_000;
/** Most bytes of JSON for cursors and fields in one envelope: an envelope holds a mebibyte. */
const MAX_BYTES_OF_MEMBERS = 524_288;
/**
 * While the broker accepts nothing, acks beyond this many bytes are dropped, because nobody depends on an
 * ack.
 */
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

  /** Never fails and never waits: a daemon that misses an ack gets the answer when it asks. */
  send(acks: readonly Acked[]): void {
    for (const group of byAccount(acks)) {
      const [first] = group;
      if (first === undefined) continue;
      const receivedAt = timestamp(this.#core.now());
      for (const members of fitting(group.map((ack) => memberOf(ack, receivedAt)))) {
        this.#publish(first, members);
      }
    }
  }

  #publish(to: Acked, members: readonly Member[]): void {
    const { log, bus } = this.#core;
    const dropped = (error: unknown) =>
      log.debug({ event: "ack.dropped", service: to.service, err: error }, "an ack was not delivered");
    try {
      const message = ackOf(this.#core, to, members);
      const bytes = message.body.length;
      if (this.#bytesInFlight + bytes > MAX_BYTES_IN_FLIGHT) return;
      this.#bytesInFlight += bytes;
      bus
        .publish(message)
        .catch(dropped)
        .finally(() => (this.#bytesInFlight -= bytes));
    } catch (error) {
      // For example, a sender whose route names an unknown service.
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

/** One message of an ack, as in the schema. */
interface Member {
  readonly message_id: string;
  readonly status: Acked["status"];
  readonly code?: string;
  readonly cursor?: Readonly<Record<string, unknown>>;
  readonly [field: string]: unknown;
}

function memberOf({ service, messageId, status, code, event }: Acked, receivedAt: string): Member {
  const cursor = event?.payload.cursor;
  return {
    ...(event !== undefined && ackFields(service, event, receivedAt)),
    message_id: messageId,
    status,
    ...(code !== undefined && { code }),
    ...(cursor !== undefined && { cursor }),
  };
}

/** Splits them in order, as many in one envelope as fit. */
function* fitting(members: readonly Member[]): Generator<Member[]> {
  let group: Member[] = [];
  let bytes = 0;
  for (const member of members) {
    const size = Buffer.byteLength(JSON.stringify(member));
    if (group.length === LIMITS.acked || (group.length > 0 && bytes + size > MAX_BYTES_OF_MEMBERS)) {
      yield group;
      group = [];
      bytes = 0;
    }
    group.push(member);
    bytes += size;
  }
  if (group.length > 0) yield group;
}

/** Services for which Msgr also reads a status with the fields of the newest message. */
const WITH_STATUS: ReadonlySet<string> = new Set(["telegram", "xmpp"]);

/** The fields at top level: those of the newest message that has a cursor or fields. */
function newestOf(service: string, members: readonly Member[]): Record<string, unknown> {
  const newest = members.findLast((member) => Object.keys(member).some((name) => !OWN.has(name)));
  if (newest === undefined) return {};
  const { message_id: _id, code: _code, status, ...shown } = newest;
  return WITH_STATUS.has(service) ? { ...shown, status } : shown;
}

const OWN: ReadonlySet<string> = new Set(["message_id", "status", "code"]);

function ackOf(core: Core, to: Acked, members: readonly Member[]): Outgoing {
  const action = ACTION[to.service] ?? "ack_event";
  return outgoing(
    core,
    {
      service: to.service,
      instance: to.instance,
      action,
      workspaceId: to.workspaceId ?? NAMESPACE_WORKSPACE,
      messageId: freshNoteId(action),
      payload: { ...newestOf(to.service, members), account: to.account, acked: members },
    },
    { mandatory: false, ttlMs: TTL_MS },
  );
}

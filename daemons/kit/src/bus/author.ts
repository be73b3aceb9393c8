/** Builds every message that a daemon publishes, signed: events, notes, answers, requests, replies. */
import { randomUUID } from "node:crypto";
import {
  answerId,
  type Envelope,
  encode,
  eventId,
  formatTopic,
  type Metadata,
  noteId,
  partitionOf,
  type ReportedStatus,
  routeOf,
  SCHEMA,
  type Signer,
  timestamp,
  traceIdOf,
} from "@linkspan/envelopes";
import type { Outgoing } from "@linkspan/fabric";
import { cleanText } from "../inbound/clean-text.ts";
import type { Clock } from "../shared/clock.ts";
import type { LinkedIdentity, PlatformEvent } from "../connector.ts";

export interface AuthorOptions {
  readonly service: string;
  readonly instance: string;
  readonly signer: Signer;
  readonly partitions: number;
  readonly clock: Clock;
  /** Lease epoch. Written into every message while the lease is held. */
  readonly epoch?: number;
}

type Payload = Readonly<Record<string, unknown>>;

export class Author {
  readonly issuer: string;
  readonly #options: AuthorOptions;

  constructor(options: AuthorOptions) {
    this.#options = options;
    this.issuer = issuerOf(options.service, options.instance);
  }

  /** The same event always gets the same message id, whenever it is read. */
  event(identity: LinkedIdentity, event: PlatformEvent): Outgoing {
    const { service } = this.#options;
    const { payload } = event;
    const id = eventId({
      workspace: identity.workspaceId,
      service,
      home: identity.home,
      account: identity.identityId,
      kind: payload.kind,
      remoteId: payload.remote_id,
      revision: payload.revision,
    });
    return this.#write(service, "inbound_event", { ...payload }, event.occurredAt, {
      workspace_id: identity.workspaceId,
      message_id: id,
      conversation: event.conversation,
      ...(event.seq !== undefined && { seq: event.seq }),
    });
  }

  /** A note: state, checkpoint, throttle, health or progress. */
  note(action: string, workspaceId: string, payload: Payload): Outgoing {
    return this.#write(this.#options.service, action, payload, this.#options.clock.now(), {
      workspace_id: workspaceId,
      message_id: noteId(this.issuer, action, randomUUID()),
    });
  }

  /** An answer to an intent. `outcome` distinguishes the answers about one attempt. */
  answer(to: Envelope, action: string, outcome: string, attempt: number, payload: Payload): Outgoing {
    return this.#write(
      this.#options.service,
      action,
      payload,
      this.#options.clock.now(),
      {
        workspace_id: to.metadata.workspace_id,
        message_id: answerId(action, to.metadata.message_id, outcome, attempt),
        in_reply_to: to.metadata.message_id,
        ...(to.metadata.identity_id !== undefined && { identity_id: to.metadata.identity_id }),
      },
      to.trace_id,
    );
  }

  /** Many statuses in one envelope. The identity is that of one of them and determines the partition. */
  statuses(workspaceId: string, identityId: string, statuses: readonly ReportedStatus[]): Outgoing {
    const { service, clock } = this.#options;
    const action = "delivery_statuses";
    return this.#write(service, action, { statuses }, clock.now(), {
      workspace_id: workspaceId,
      message_id: noteId(this.issuer, action, randomUUID()),
      identity_id: identityId,
    });
  }

  /** The partition of statuses of this identity. */
  partitionOf(identityId: string): number {
    return partitionOf(identityId, this.#options.partitions);
  }

  /** A request to the core or the vault. Publishing the same bytes again gives the same answer. */
  request(
    service: "core" | "vault",
    action: string,
    payload: Payload,
    options: { readonly workspaceId: string; readonly expiresInMs: number; readonly traceId?: string },
  ): Outgoing {
    const now = this.#options.clock.now();
    const traceId = options.traceId ?? randomUUID();
    const envelope: Envelope = {
      schema: SCHEMA,
      service,
      action,
      trace_id: traceId,
      occurred_at: timestamp(now),
      metadata: {
        ...this.#provenance(),
        instance: "primary",
        workspace_id: options.workspaceId,
        message_id: noteId(this.issuer, action, randomUUID()),
        expires_at: timestamp(new Date(now.getTime() + options.expiresInMs)),
        reply_to: formatTopic({ service, instance: "primary", action, replyTo: traceId }),
      },
      payload,
    };
    return this.#sign(envelope);
  }

  /** The answer to a request that carried a return address. `outcome` is its status word. */
  reply(to: Envelope, outcome: string, payload: Payload): Outgoing {
    return this.#write(
      to.service,
      to.action,
      payload,
      this.#options.clock.now(),
      {
        workspace_id: to.metadata.workspace_id,
        message_id: answerId(to.action, to.metadata.message_id, outcome, 1),
        in_reply_to: to.metadata.message_id,
      },
      to.trace_id,
    );
  }

  #write(
    service: string,
    action: string,
    payload: Payload,
    at: Date,
    metadata: Pick<Metadata, "workspace_id" | "message_id"> & Partial<Metadata>,
    traceId: string = traceIdOf(metadata.message_id),
  ): Outgoing {
    return this.#sign({
      schema: SCHEMA,
      service,
      action,
      trace_id: traceId,
      occurred_at: timestamp(at),
      metadata: { ...this.#provenance(), instance: this.#options.instance, ...metadata },
      payload: cleanText(payload),
    });
  }

  #provenance(): Pick<Metadata, "issuer" | "epoch"> {
    const { epoch } = this.#options;
    return { issuer: this.issuer, ...(epoch !== undefined && { epoch }) };
  }

  #sign(envelope: Envelope): Outgoing {
    const { message_id, in_reply_to } = envelope.metadata;
    return {
      ...encode(envelope, this.#options.signer),
      route: routeOf(envelope, this.#options.partitions),
      messageId: message_id,
      ...(in_reply_to !== undefined && { inReplyTo: in_reply_to }),
    };
  }
}

export function issuerOf(service: string, instance: string): string {
  return `daemon:${service}:${instance}`;
}

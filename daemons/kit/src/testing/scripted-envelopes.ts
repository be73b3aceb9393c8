/** The envelopes and tickets of the scripted core. */
import { randomUUID } from "node:crypto";
import {
  contentHash,
  decode,
  type Envelope,
  encode,
  intentId,
  type Metadata,
  mintTicket,
  noteId,
  routeOf,
  SCHEMA,
  type Signer,
  type TicketClaims,
  ticketStamp,
  timestamp,
  toBase64url,
  traceIdOf,
} from "@linkspan/envelopes";
import type { Delivery, Outgoing } from "@linkspan/fabric";
import type { ScriptedKeys } from "./scripted-keys.ts";

export const PARTITIONS = 2;
export const WORKSPACE = "acme";

export type Payload = Readonly<Record<string, unknown>>;

export interface IntentOptions {
  /** Idempotency key. */
  readonly key?: string;
  readonly attempt?: number;
  readonly action?: string;
  readonly conversation?: string;
  /** Claims of its ticket that differ. */
  readonly claims?: Payload;
  readonly metadata?: Partial<Metadata>;
}

/** The instance that they are for. */
export interface Addressee {
  readonly service: string;
  readonly instance: string;
  readonly issuer: string;
}

export class ScriptedEnvelopes {
  readonly #keys: ScriptedKeys;
  readonly #to: Addressee;

  constructor(keys: ScriptedKeys, to: Addressee) {
    this.#keys = keys;
    this.#to = to;
  }

  make(service: string, action: string, payload: Payload, metadata: Metadata): Envelope {
    return {
      schema: SCHEMA,
      service,
      action,
      trace_id: traceIdOf(metadata.message_id),
      occurred_at: timestamp(new Date()),
      metadata,
      payload,
    };
  }

  /** A note or a request of the core to this instance, or to another service. */
  note(service: string, action: string, payload: Payload, metadata: Partial<Metadata>): Envelope {
    return this.make(service, action, payload, {
      issuer: "core",
      workspace_id: WORKSPACE,
      instance: service === "core" ? "primary" : this.#to.instance,
      message_id: noteId("core", action, randomUUID()),
      ...metadata,
    });
  }

  signed(envelope: Envelope, signer: Signer = this.#keys.signer): Outgoing {
    const { message_id, in_reply_to } = envelope.metadata;
    return {
      ...encode(envelope, signer),
      route: routeOf(envelope, PARTITIONS),
      messageId: message_id,
      ...(in_reply_to !== undefined && { inReplyTo: in_reply_to }),
    };
  }

  /** @param route where it arrived; undefined for a reply */
  opened({ body, kid, sig }: Delivery, route?: Delivery["route"]): Envelope {
    const received = { body, kid, sig, ...(route !== undefined && { route }) };
    return decode(received, { keys: this.#keys.ring, now: new Date(), partitions: PARTITIONS }).envelope;
  }

  /** An intent with its ticket. */
  async intent(
    identityId: string,
    payload: Payload,
    { key = randomUUID(), attempt = 1, action = "outbound_message", conversation, ...over }: IntentOptions,
  ): Promise<Envelope> {
    const metadata: Metadata = {
      issuer: "core",
      workspace_id: WORKSPACE,
      instance: this.#to.instance,
      message_id: intentId(WORKSPACE, key),
      identity_id: identityId,
      user_id: "ada",
      ...(conversation !== undefined && { conversation }),
    };
    const draft = this.make(this.#to.service, action, payload, metadata);
    const ticket = await this.#ticket(identityId, "send", {
      actions: [action],
      ...(conversation !== undefined && { conversation }),
      intent_hash: toBase64url(contentHash(draft)),
      attempt,
      ...over.claims,
    });
    return { ...draft, metadata: { ...metadata, ticket, ...over.metadata } };
  }

  /** A ticket to connect with. */
  sessionTicket(identityId: string): Promise<string> {
    return this.#ticket(identityId, "session", {});
  }

  async #ticket(
    identityId: string,
    capability: "send" | "session",
    claims: Partial<TicketClaims>,
  ): Promise<string> {
    const { signer } = await this.#keys.enrol();
    return mintTicket(
      {
        ...ticketStamp([capability], new Date()),
        iss: "core",
        aud: this.#to.issuer,
        cnf: signer.kid,
        workspace_id: WORKSPACE,
        identity_id: identityId,
        service: this.#to.service,
        actions: [],
        capabilities: [capability],
        ...claims,
      },
      this.#keys.signer,
    );
  }
}

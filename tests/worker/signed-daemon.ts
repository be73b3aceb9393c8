/** A daemon that says what a test wants it to say, signed, to a running core. */
import { randomUUID } from "node:crypto";
import { ownRecord, registerKey } from "@linkspan/compose/parts";
import {
  answerId,
  canonical,
  channelRef,
  type Envelope,
  eventId,
  identityRef,
  type InboundEvent,
  type Metadata,
  noteId,
  routeOf,
  type Signer,
  signerFromSeed,
  timestamp,
  traceIdOf,
} from "@linkspan/envelopes";
import type { Bus, Delivery } from "@linkspan/fabric";
import { claimLease, insertIdentity, updateIdentity } from "@linkspan/store";
import type { Core } from "@linkspan/worker";
import { WORKSPACE } from "./world.ts";

export interface Told {
  readonly account: string;
  readonly remoteId?: string;
  readonly conversation?: string;
  readonly metadata?: Partial<Metadata>;
  readonly payload?: Partial<InboundEvent>;
  /** Who says it. Default bob. */
  readonly sender?: string;
  readonly home?: string;
}

const ENVELOPE_TYPE = "application/vnd.msgr.bridge.v1+json";

/** The conversation `#name` of the test network. */
export const room = (name: string, workspace = WORKSPACE, service = "irc") =>
  channelRef(workspace, service, ["net", `#${name}`]);

export const senderRef = (name: string, service = "irc") => identityRef(service, ["net", name]);

export class SignedDaemon {
  readonly service: string;
  readonly instance: string;
  readonly issuer: string;
  readonly signer: Signer;
  epoch: number | undefined;
  readonly #core: Core;
  readonly #bus: Bus;

  constructor(core: Core, bus: Bus, service: string, instance: string, seed: number) {
    this.service = service;
    this.instance = instance;
    this.issuer = `daemon:${service}:${instance}`;
    this.signer = signerFromSeed(new Uint8Array(32).fill(seed));
    this.#core = core;
    this.#bus = bus;
  }

  async enrol(): Promise<this> {
    const record = { issuers: [this.issuer], purposes: ["envelope" as const], services: [this.service] };
    await registerKey(this.#core, ownRecord(this.signer, record, new Date()));
    return this;
  }

  /** Takes the lease whoever has it, under the next epoch. */
  async hold(ttlMs = 600_000): Promise<number> {
    await this.lose();
    const claim = { service: this.service, instance: this.instance, holder: randomUUID() };
    const lease = await claimLease(this.#core.database.pool, { ...claim, kid: this.signer.kid, ttlMs });
    if (lease.state !== "held") throw new Error("the lease is not free");
    this.epoch = lease.epoch;
    return lease.epoch;
  }

  /** What SIGKILL leaves: the lease runs out, and nobody says that an account is gone. */
  async lose(): Promise<void> {
    await this.#core.database.query(
      "UPDATE instance_leases SET expires_at = now() WHERE service = $1 AND instance = $2",
      [this.service, this.instance],
    );
  }

  /** A linked account that is connected. */
  async serve(id: string, workspace = WORKSPACE): Promise<void> {
    const { service, instance } = this;
    const identity = { id, workspace_id: workspace, user_id: "u", service, instance, settings: {} };
    await insertIdentity(this.#core.database.pool, identity);
    await updateIdentity(this.#core.database.pool, id, { state: "linked", bridge_state: "connected" });
  }

  event(told: Told): Envelope {
    const workspace = told.metadata?.workspace_id ?? WORKSPACE;
    const name = told.sender ?? "bob";
    const payload: InboundEvent = {
      kind: "message",
      remote_id: told.remoteId ?? randomUUID(),
      revision: "0",
      account: told.account,
      sender: { ref: senderRef(name, this.service), name, is_self: false },
      sent_at: timestamp(new Date()),
      text: "hello",
      ...told.payload,
    };
    const messageId = eventId({
      workspace,
      service: this.service,
      home: told.home ?? this.instance,
      account: payload.account,
      kind: payload.kind,
      remoteId: payload.remote_id,
      revision: payload.revision,
    });
    return this.#envelope("inbound_event", messageId, payload, {
      workspace_id: workspace,
      conversation: told.conversation ?? room("a", workspace, this.service),
      ...told.metadata,
    });
  }

  note(action: string, payload: object, metadata: Partial<Metadata> = {}): Envelope {
    return this.#envelope(action, noteId(this.issuer, action, randomUUID()), payload, metadata);
  }

  answer(action: string, intentId: string, payload: object, metadata: Partial<Metadata> = {}): Envelope {
    const messageId = answerId(action, intentId, randomUUID(), 1);
    return this.#envelope(action, messageId, payload, { in_reply_to: intentId, ...metadata });
  }

  /** Resolves when the core has taken it in, or has refused it. */
  async say(envelope: Envelope): Promise<void> {
    await this.#bus.publish(this.#signed(envelope));
  }

  /** Asks the core or the vault. @returns the answer's payload */
  async ask(
    service: "core" | "vault",
    action: string,
    payload: object,
    metadata: Partial<Metadata> = {},
  ): Promise<Record<string, unknown>> {
    const messageId = noteId(this.issuer, action, randomUUID());
    const envelope: Envelope = {
      ...this.#envelope(action, messageId, payload, {
        instance: "primary",
        reply_to: `bridge/${service}/${action}/reply/${traceIdOf(messageId)}`,
        ...metadata,
      }),
      service,
    };
    const { body } = await this.#bus.request(this.#signed(envelope), { timeoutMs: 5_000 });
    return (JSON.parse(Buffer.from(body).toString()) as Envelope).payload;
  }

  /** Answers a request of the core. */
  async reply({ body, replyTo }: Delivery, payload: object): Promise<void> {
    const { action, trace_id, metadata } = JSON.parse(Buffer.from(body).toString()) as Envelope;
    const { workspace_id, message_id } = metadata;
    const answer = this.#envelope(action, answerId(action, message_id, randomUUID(), 1), payload, {
      workspace_id,
      in_reply_to: message_id,
    });
    if (replyTo === undefined) throw new Error("the request names nobody to answer");
    await this.#bus.reply(replyTo, { ...this.#signed({ ...answer, trace_id }), inReplyTo: message_id });
  }

  #envelope(action: string, messageId: string, payload: object, metadata: Partial<Metadata>): Envelope {
    return {
      schema: "msgr.bridge.v1",
      service: this.service,
      action,
      trace_id: traceIdOf(messageId),
      occurred_at: timestamp(new Date()),
      metadata: {
        issuer: this.issuer,
        workspace_id: WORKSPACE,
        instance: this.instance,
        message_id: messageId,
        ...(this.epoch !== undefined && { epoch: this.epoch }),
        ...metadata,
      },
      payload: { ...payload },
    };
  }

  /** The checks of our own encoder are not asked: a hostile daemon has its own. */
  #signed(envelope: Envelope) {
    const body = canonical(envelope);
    return {
      body,
      kid: this.signer.kid,
      sig: this.signer.sign(ENVELOPE_TYPE, body),
      route: routeOf(envelope, 8),
      messageId: envelope.metadata.message_id,
    };
  }
}

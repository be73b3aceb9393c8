/**
 * A daemon with a valid key and a broker user of its own, which sends what it may not: generated envelopes of every
 * action, well signed, about other tenants' accounts, under other routes, with generated headers.
 */
import { randomUUID } from "node:crypto";
import {
  actionsOf,
  canonicalText,
  ENVELOPE_TYPE,
  type Envelope,
  noteId,
  type Signer,
  timestamp,
} from "@linkspan/envelopes";
import type { Random } from "@linkspan/time";
import { connect } from "amqplib";
import { below, hostileNumber, hostileText, hostileValue, mutated, pick } from "./values.ts";

export interface DaemonOptions {
  readonly amqpUrl: string;
  readonly signer: Signer;
  readonly service: string;
  readonly instance: string;
  readonly random: Random;
  readonly foreign: { readonly identityId: string; readonly workspace: string };
  readonly signal: AbortSignal;
}

const BURST = 20;

export class HostileDaemon {
  readonly #options: DaemonOptions;
  readonly #random: Random;
  #published = 0;

  constructor(options: DaemonOptions) {
    this.#options = options;
    this.#random = options.random;
  }

  get published(): number {
    return this.#published;
  }

  /** Runs until the signal. A channel or connection that the broker closes is opened again. */
  async run(): Promise<void> {
    const { signal } = this.#options;
    while (!signal.aborted) {
      try {
        await this.#connected();
      } catch {
        await new Promise((resolve) => setImmediate(resolve)); // refused: that is what the broker is for
      }
    }
  }

  async #connected(): Promise<void> {
    const connection = await connect(this.#options.amqpUrl);
    connection.on("error", () => undefined);
    try {
      const channel = await connection.createConfirmChannel();
      let closed = false;
      channel.on("error", () => undefined).on("close", () => (closed = true));
      while (!this.#options.signal.aborted && !closed) {
        for (let i = 0; i < BURST && !closed; i++) this.#publish(channel);
        await channel.waitForConfirms();
      }
    } finally {
      await connection.close().catch(() => undefined);
    }
  }

  #publish(channel: {
    publish(exchange: string, key: string, body: Buffer, options: object): boolean;
  }): void {
    const { signer, service, instance } = this.#options;
    const envelope = this.#envelope();
    const body = Buffer.from(this.#text(envelope), "utf8").subarray(0, 1_200_000);
    const partition = `p0${below(this.#random, 8)}`;
    const chance = this.#random();
    // Mostly a route that its user may write to; the others close the channel.
    const key = chance < 0.97 ? `${service}.${instance}.${envelope.action}.${partition}` : this.#oddKey();
    const odd = this.#random() < 0.1;
    channel.publish("bridge", key, body, {
      persistent: true,
      contentType: ENVELOPE_TYPE,
      messageId: odd ? hostileText(this.#random).slice(0, 200) : envelope.metadata.message_id,
      type: envelope.action.slice(0, 200),
      headers: odd
        ? { kid: hostileValue(this.#random), sig: hostileText(this.#random), traceparent: "x" }
        : { kid: signer.kid, sig: signer.sign(ENVELOPE_TYPE, body) },
      ...(odd && { correlationId: hostileText(this.#random).slice(0, 200) }),
      ...(this.#random() < 0.02 && { CC: ["bridge.dead", "irc._.inbound_event.p00"] }),
    });
    this.#published++;
  }

  #oddKey(): string {
    const { service } = this.#options;
    return pick(this.#random, [
      "bridge.dead",
      "#",
      `${service}._.inbound_event.p00`,
      "echo._.delivery_status.p01",
    ]);
  }

  #envelope(): Envelope {
    const { service, instance, foreign } = this.#options;
    const actions = actionsOf(service).filter(({ direction, unasked }) => direction === "to_core" || unasked);
    const action = pick(this.#random, actions).name;
    const issuer = `daemon:${service}:${instance}`;
    const payload = {
      account: pick(this.#random, [foreign.identityId, "nobody", hostileText(this.#random)]),
      identity_id: foreign.identityId,
      intent_id: hostileText(this.#random).slice(0, 60),
      kind: pick(this.#random, ["message", "edit", "membership", hostileText(this.#random)]),
      remote_id: hostileText(this.#random),
      revision: "0",
      part: hostileNumber(this.#random),
      parts: hostileNumber(this.#random),
      attempt: hostileNumber(this.#random),
      status: pick(this.#random, ["sent", "failed", "uncertain"]),
      state: pick(this.#random, ["connected", "logged_out", hostileText(this.#random)]),
      cursor: { at: hostileValue(this.#random) },
      text: hostileText(this.#random),
      sent_at: timestamp(new Date()),
    };
    const metadata = {
      issuer: this.#random() < 0.9 ? issuer : "daemon:echo:primary",
      workspace_id: pick(this.#random, [foreign.workspace, "evil", "_", hostileText(this.#random)]),
      instance: this.#random() < 0.9 ? instance : "primary",
      message_id: noteId(issuer, action, randomUUID()),
      epoch: pick(this.#random, [1, 2, hostileNumber(this.#random)]),
      ...(this.#random() < 0.5 && { in_reply_to: noteId(issuer, action, "x") }),
      ...(this.#random() < 0.5 && { conversation: `msgr://channels/${foreign.workspace}/bridge/echo/0` }),
    };
    return {
      schema: "msgr.bridge.v1",
      service,
      action,
      trace_id: randomUUID(),
      occurred_at: timestamp(new Date()),
      metadata: this.#random() < 0.3 ? (mutated(this.#random, metadata) as typeof metadata) : metadata,
      payload: this.#random() < 0.7 ? mutated(this.#random, payload) : payload,
    };
  }

  /** Canonical where it has a canonical form, plain JSON where it has none. */
  #text(envelope: Envelope): string {
    try {
      return canonicalText(envelope);
    } catch {
      return JSON.stringify(envelope);
    }
  }
}

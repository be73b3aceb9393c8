/** What somebody who can publish on the broker might try on a daemon, and the core's own mistakes. */
import { randomBytes, randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import {
  channelRef,
  contentHash,
  type Envelope,
  encode,
  intentId,
  mintTicket,
  routeOf,
  routingKey,
  type Signer,
  signerFromSeed,
  type TicketClaims,
  ticketStamp,
  timestamp,
  toBase64url,
  traceIdOf,
} from "@linkspan/envelopes";
import { type ChannelModel, type ConfirmChannel, connect } from "amqplib";
import type { PeerPlace } from "./peer.ts";

export interface Forgery {
  readonly name: string;
  /** What it must be refused with. */
  readonly code: string;
  /** Whether it ends as a dead letter. */
  readonly dies: boolean;
  readonly publish: () => Promise<void>;
}

const DAEMON = "daemon:echo:primary";
const CONVERSATION = channelRef("default", "echo", ["room"]);
const PARTITIONS = 8;

export class CoreForger implements AsyncDisposable {
  readonly #connection: ChannelModel;
  readonly #channel: ConfirmChannel;
  readonly #core: Signer;
  readonly #daemonKid: string;
  readonly #identity: string;
  readonly #stranger = signerFromSeed(randomBytes(32));

  private constructor(
    connection: ChannelModel,
    channel: ConfirmChannel,
    who: { readonly core: Signer; readonly daemonKid: string; readonly identity: string },
  ) {
    this.#connection = connection;
    this.#channel = channel;
    this.#core = who.core;
    this.#daemonKid = who.daemonKid;
    this.#identity = who.identity;
  }

  /** @param data the core's data directory: the tickets are wrong, but some envelopes are the core's own */
  static async open(data: string, { amqpUrl, keys }: PeerPlace, identity: string): Promise<CoreForger> {
    const core = signerFromSeed(Buffer.from(readFileSync(join(data, "core.seed"), "utf8").trim(), "hex"));
    const { seed } = JSON.parse(readFileSync(keys, "utf8")) as { seed: string };
    const { kid: daemonKid } = signerFromSeed(Buffer.from(seed, "hex"));
    const connection = await connect(amqpUrl);
    const channel = await connection.createConfirmChannel();
    return new CoreForger(connection, channel, { core, daemonKid, identity });
  }

  attempts(): Forgery[] {
    const past = timestamp(new Date(Date.now() - 3_600_000));
    const other = channelRef("default", "echo", ["elsewhere"]);
    const ticket = (name: string, code: string, claims: Partial<TicketClaims>, signer = this.#core) =>
      this.#forgery(name, code, (intent) => this.#send(this.#ticketed(intent, claims, signer), this.#core));
    return [
      this.#forgery("a stranger's key", "envelope.unknown_key", (intent) =>
        this.#send(this.#ticketed(intent), this.#stranger),
      ),
      this.#forgery("the core's kid under a stranger's signature", "envelope.bad_signature", (intent) =>
        this.#send(this.#ticketed(intent), this.#stranger, { kid: this.#core.kid }),
      ),
      this.#forgery("no signature", "envelope.unsigned", (intent) =>
        this.#send(this.#ticketed(intent), this.#core, { kid: undefined, sig: undefined }),
      ),
      this.#forgery("another conversation's routing key", "envelope.misrouted", (intent) =>
        this.#send(this.#ticketed(intent), this.#core, {}, this.#wrongKey(intent)),
      ),
      this.#forgery(
        "past its expiry",
        "envelope.expired",
        (intent) => {
          const metadata = { ...intent.metadata, expires_at: past };
          return this.#send(this.#ticketed({ ...intent, metadata }), this.#core);
        },
        false,
      ),
      this.#forgery("no ticket", "ticket.missing", (intent) => this.#send(intent, this.#core)),
      ticket("a stranger's ticket", "ticket.invalid", {}, this.#stranger),
      ticket("a ticket for another daemon", "ticket.wrong_audience", { aud: "daemon:echo:other" }),
      ticket("a ticket for another key", "ticket.wrong_audience", { cnf: this.#stranger.kid }),
      ticket("a ticket for another workspace", "ticket.wrong_destination", { workspace_id: "other" }),
      ticket("a ticket for another identity", "ticket.wrong_destination", { identity_id: "another" }),
      ticket("a ticket for another service", "ticket.wrong_destination", { service: "irc" }),
      ticket("a ticket for another action", "ticket.wrong_destination", { actions: ["outbound_edit"] }),
      ticket("a ticket for another conversation", "ticket.wrong_destination", { conversation: other }),
      ticket("a ticket for another text", "ticket.wrong_destination", {
        intent_hash: toBase64url(new Uint8Array(32)),
      }),
      { ...ticket("a ticket that ran out", "ticket.expired", minutesAgo(10)), dies: false },
      { ...ticket("a ticket of the future", "ticket.invalid", minutesAgo(-10)), dies: false },
    ];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#connection.close();
  }

  #forgery(name: string, code: string, send: (intent: Envelope) => Promise<void>, dies = true): Forgery {
    return { name, code, dies, publish: () => send(this.#intent()) };
  }

  /** As the core would publish it, but for its ticket. */
  #intent(): Envelope {
    const messageId = intentId("default", randomUUID());
    return {
      schema: "msgr.bridge.v1",
      service: "echo",
      action: "outbound_message",
      trace_id: traceIdOf(messageId),
      occurred_at: timestamp(new Date()),
      metadata: {
        issuer: "core",
        workspace_id: "default",
        instance: "primary",
        message_id: messageId,
        user_id: "user-1",
        identity_id: this.#identity,
        conversation: CONVERSATION,
      },
      payload: { text: "forged" },
    };
  }

  #ticketed(intent: Envelope, claims: Partial<TicketClaims> = {}, signer: Signer = this.#core): Envelope {
    const ticket = mintTicket(
      {
        iss: "core",
        aud: DAEMON,
        cnf: this.#daemonKid,
        workspace_id: "default",
        identity_id: this.#identity,
        service: "echo",
        actions: ["outbound_message"],
        capabilities: ["send"],
        conversation: CONVERSATION,
        intent_hash: toBase64url(contentHash(intent)),
        attempt: 1,
        ...ticketStamp(["send"], new Date()),
        ...claims,
      },
      signer,
    );
    return { ...intent, metadata: { ...intent.metadata, ticket } };
  }

  #wrongKey(intent: Envelope): string {
    const route = routeOf(intent, PARTITIONS);
    return routingKey({ ...route, partition: (route.partition + 1) % PARTITIONS });
  }

  async #send(
    envelope: Envelope,
    signer: Signer,
    headers: { readonly kid?: string | undefined; readonly sig?: string | undefined } = {},
    key = routingKey(routeOf(envelope, PARTITIONS)),
  ): Promise<void> {
    const { body, kid, sig } = encode(envelope, signer);
    const all = { kid, sig, ...headers };
    const present = Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
    this.#channel.publish("bridge", key, Buffer.from(body), {
      contentType: "application/vnd.msgr.bridge.v1+json",
      messageId: envelope.metadata.message_id,
      persistent: true,
      headers: present,
    });
    await this.#channel.waitForConfirms();
  }
}

function minutesAgo(minutes: number): Pick<TicketClaims, "iat" | "nbf" | "exp"> {
  const iat = Math.floor(Date.now() / 1_000) - minutes * 60;
  return { iat, nbf: iat, exp: iat + 60 };
}

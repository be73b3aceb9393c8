/**
 * The core as a daemon sees it, for tests: it signs real envelopes, answers as it is told and keeps everything it
 * receives. It decides nothing; a test that needs another answer scripts it.
 */
import { randomBytes } from "node:crypto";
import {
  type AttemptBatch,
  type AttemptReply,
  type AttemptRequest,
  answerId,
  type DeliveryStatus,
  type Envelope,
  type ErrorCode,
  FabricError,
  generateSealKeys,
  isFabricError,
  type KeyRecord,
  type Metadata,
  type ResumedIdentity,
  type SealKeys,
  type Signer,
  signerFromSeed,
} from "@linkspan/envelopes";
import { ACK, type Delivery, type EmbeddedBroker, type EmbeddedBus } from "@linkspan/fabric";
import { asksIn, refusalOf, statusesIn } from "./scripted-answers.ts";
import {
  type IntentOptions,
  PARTITIONS,
  type Payload,
  ScriptedEnvelopes,
  WORKSPACE,
} from "./scripted-envelopes.ts";
import { type DaemonKeys, ScriptedKeys } from "./scripted-keys.ts";
import { ScriptedLease } from "./scripted-lease.ts";
import { inboundQueues, REQUEST_QUEUES } from "./scripted-queues.ts";
import { ScriptedRows } from "./scripted-rows.ts";
import { ScriptedVault } from "./scripted-vault.ts";

export { PARTITIONS, WORKSPACE } from "./scripted-envelopes.ts";

export class ScriptedCore {
  readonly bus: EmbeddedBus;
  readonly service: string;
  readonly instance: string;
  readonly lease = new ScriptedLease();
  readonly vault: ScriptedVault;
  readonly rows: ScriptedRows;
  /** Everything that daemons published, in order of arrival. */
  readonly heard: Envelope[] = [];
  /** Fabric requests that were made. */
  readonly asked: Envelope[] = [];
  readonly identities = new Map<string, ResumedIdentity>();
  /** Whether events are acknowledged. */
  acking = true;
  partitions = PARTITIONS;
  /** Identities in one answer to `resume`. */
  resumePage = 100;
  /** Error that `resume` is answered with, if any. */
  resumption: FabricError | undefined;
  /** Answers nothing, as when the broker or the core is away. */
  silent = false;
  /** Whether it knows many questions in one request; false refuses the form, whatever its version says. */
  takesMany = true;
  /** Version in `hello`; before 0.2 a core knows no batches. */
  version = "0.2.0";
  /** Answers each question of `attempt`; by default everything may be sent. */
  decide: (ask: AttemptRequest, envelope: Envelope) => AttemptReply | Promise<AttemptReply> = () => GO;
  #intake = Promise.resolve();
  readonly #keys: ScriptedKeys;
  readonly #envelopes: ScriptedEnvelopes;

  private constructor(bus: EmbeddedBus, service: string, instance: string, sealKeys: SealKeys) {
    this.bus = bus;
    this.service = service;
    this.instance = instance;
    const issuer = `daemon:${service}:${instance}`;
    this.#keys = new ScriptedKeys(service, issuer, sealKeys);
    this.#envelopes = new ScriptedEnvelopes(this.#keys, { service, instance, issuer });
    this.vault = new ScriptedVault(this.#keys, issuer, WORKSPACE);
    this.rows = new ScriptedRows(this.#keys, issuer, WORKSPACE);
  }

  static async start(broker: EmbeddedBroker, service = "echo", instance = "primary"): Promise<ScriptedCore> {
    const core = new ScriptedCore(broker.connect("core"), service, instance, await generateSealKeys());
    await core.#listen();
    return core;
  }

  get signer(): Signer {
    return this.#keys.signer;
  }

  /** Keys of the instance's daemon, registered. */
  enrol(): Promise<DaemonKeys> {
    return this.#keys.enrol();
  }

  records(): KeyRecord[] {
    return this.#keys.records();
  }

  /** Serves one more identity from the next `resume` on. */
  link(identityId: string, settings: Payload = {}): ResumedIdentity {
    const identity: ResumedIdentity = {
      identity_id: identityId,
      workspace_id: WORKSPACE,
      user_id: "ada",
      home: this.instance,
      settings,
      ticket: "",
      state: "linked",
    };
    this.identities.set(identityId, identity);
    return identity;
  }

  /** Every status that was reported, alone or among others, in order of arrival. */
  get statuses(): DeliveryStatus[] {
    return statusesIn(this.heard);
  }

  /** Every question that was asked, alone or among others. */
  get asks(): AttemptRequest[] {
    return asksIn(this.asked);
  }

  /** What was heard of one action, as payloads. */
  payloads<T = Payload>(action: string): T[] {
    return this.heard.filter((envelope) => envelope.action === action).map(({ payload }) => payload as T);
  }

  /** Publishes an intent as its n-th attempt; resolves when the daemon settled it. @returns its id */
  async say(identityId: string, payload: Payload, options: IntentOptions = {}): Promise<string> {
    const intent = await this.#envelopes.intent(identityId, payload, options);
    await this.bus.publish(this.#envelopes.signed(intent));
    return intent.metadata.message_id;
  }

  /** An outbound message signed by somebody who is not enrolled. */
  sayAsStranger(identityId: string, payload: Payload): Promise<void> {
    return this.#forge(identityId, payload, "core", signerFromSeed(randomBytes(32)));
  }

  /** An outbound message that the core's key signs in another's name. */
  sayAsDaemon(identityId: string, payload: Payload): Promise<void> {
    return this.#forge(identityId, payload, `daemon:${this.service}:${this.instance}`, this.signer);
  }

  #forge(identityId: string, payload: Payload, issuer: string, signer: Signer): Promise<void> {
    const envelope = this.#envelopes.note(this.service, "outbound_message", payload, {
      issuer,
      identity_id: identityId,
    });
    return this.bus.publish(this.#envelopes.signed(envelope, signer));
  }

  /** Asks the daemon something and opens its answer. */
  async request(action: string, payload: Payload, metadata: Partial<Metadata> = {}): Promise<Envelope> {
    const envelope = this.#envelopes.note(this.service, action, payload, metadata);
    const answer = await this.bus.request(this.#envelopes.signed(envelope), { timeoutMs: 10_000 });
    return this.#envelopes.opened(answer);
  }

  /** Tells the daemon something that wants no answer, such as `request_history`. */
  async tell(
    action: string,
    payload: Payload,
    metadata: Partial<Metadata> = {},
    service = this.service,
  ): Promise<void> {
    await this.bus.publish(this.#envelopes.signed(this.#envelopes.note(service, action, payload, metadata)));
  }

  /** A ticket to connect with. */
  sessionTicket(identityId: string): Promise<string> {
    return this.#envelopes.sessionTicket(identityId);
  }

  /** @param code why the core keeps the events in quarantine; undefined: it stored them */
  async acknowledge(account: string, ids: readonly string[], code?: ErrorCode): Promise<void> {
    const result = code === undefined ? { status: "persisted" } : { status: "quarantined", code };
    const acked = ids.map((message_id) => ({ message_id, ...result }));
    const action = ACKS[this.service] ?? "ack_event";
    await this.tell(action, { account, acked }).catch((error: unknown) => {
      // Acks are never mandatory: whoever is gone does not get them.
      if (!isFabricError(error)) throw error;
    });
  }

  async #listen(): Promise<void> {
    const inbound = inboundQueues(this.service, PARTITIONS);
    await this.bus.declare([...inbound, ...REQUEST_QUEUES]);
    for (const queue of inbound) {
      await this.bus.subscribe(queue, {
        handle: async (batch) => Promise.all(batch.map((one) => this.#take(one.delivery))),
      });
    }
    for (const queue of REQUEST_QUEUES) {
      const handle = async (batch: readonly { readonly delivery: Delivery }[]) => {
        for (const { delivery } of batch) void this.#answer(delivery);
        return batch.map(() => ACK);
      };
      await this.bus.subscribe(queue, { handle });
    }
  }

  /** Settles nothing that daemons publish, until what is returned is called. */
  pauseIntake(): () => void {
    const paused = Promise.withResolvers<void>();
    this.#intake = paused.promise;
    return () => {
      this.#intake = Promise.resolve();
      paused.resolve();
    };
  }

  async #take(delivery: Delivery) {
    await this.#intake;
    const envelope = this.#envelopes.opened(delivery, delivery.route);
    this.heard.push(envelope);
    if (envelope.action === "inbound_event" && this.acking) {
      void this.acknowledge(String(envelope.payload.account), [envelope.metadata.message_id]);
    }
    if (envelope.action === "checkpoint") this.#keep(envelope.payload);
    return ACK;
  }

  #keep({ account, cursor }: Payload): void {
    const identity = this.identities.get(String(account));
    if (identity !== undefined) {
      this.identities.set(identity.identity_id, {
        ...identity,
        checkpoint: cursor as Record<string, unknown>,
      });
    }
  }

  async #answer(delivery: Delivery): Promise<void> {
    const request = this.#envelopes.opened(delivery, delivery.route);
    this.asked.push(request);
    if (this.silent) return;
    let payload: Payload | undefined;
    try {
      payload = (await this.#replyTo(request)) as Payload | undefined;
    } catch (error) {
      payload = refusalOf(error);
    }
    if (payload === undefined) return;
    const { metadata, service, action, trace_id } = request;
    const envelope = this.#envelopes.make(service, action, payload, {
      issuer: "core",
      workspace_id: metadata.workspace_id,
      instance: "primary",
      message_id: answerId(action, metadata.message_id, "ok", 1),
      in_reply_to: metadata.message_id,
    });
    const answer = this.#envelopes.signed({ ...envelope, trace_id });
    const { replyTo, correlationId } = delivery;
    if (replyTo !== undefined) await this.bus.reply(replyTo, { ...answer, correlationId });
  }

  /** Undefined when the answer is lost. */
  async #replyTo({ action, payload, metadata }: Envelope): Promise<object | undefined> {
    switch (action) {
      case "hello":
        return this.#hello(String(payload.boot_id));
      case "resume":
        return this.#resume(String(payload.cursor ?? ""));
      case "attempt":
        return this.#decide(payload, { payload, metadata } as Envelope);
      case "load_rows":
      case "commit_rows":
        return this.rows.answer(action, payload, metadata.message_id);
      default:
        return this.vault.answer(action, payload);
    }
  }

  /** One question, or many: then what one of them is refused with is its own answer. */
  async #decide(payload: Payload, request: Envelope): Promise<object> {
    const { asks } = payload as Partial<AttemptBatch>;
    if (asks === undefined) return this.decide(payload as AttemptRequest, request);
    if (!this.takesMany) throw new FabricError("envelope.schema", "asks: a member that is not known");
    const answers = await Promise.allSettled(asks.map(async (ask) => this.decide(ask, request)));
    return {
      answers: answers.map((one) => (one.status === "fulfilled" ? one.value : refusalOf(one.reason))),
    };
  }

  async #resume(cursor: string) {
    if (this.resumption !== undefined) throw this.resumption;
    const left = [...this.identities.values()]
      .filter(({ identity_id }) => identity_id > cursor)
      .toSorted((a, b) => (a.identity_id < b.identity_id ? -1 : 1));
    const identities = await Promise.all(
      left.slice(0, this.resumePage).map(async (identity) => ({
        ...identity,
        ticket: await this.sessionTicket(identity.identity_id),
      })),
    );
    const last = left[this.resumePage - 1]?.identity_id;
    return { identities, ...(last !== undefined && { cursor: last }) };
  }

  #hello(bootId: string): object {
    const { version, partitions } = this;
    const lease = this.lease.claim(bootId);
    return { version, generation: 1, partitions, keys: this.records(), lease };
  }
}

export const GO: AttemptReply = { decision: "go", window_ms: 10_000 };

const ACKS: Readonly<Record<string, string>> = {
  telegram: "ack_update",
  matrix: "ack_sync",
  irc: "ack_offset",
  xmpp: "ack_receipt",
};

/**
 * The core as a daemon sees it, for tests: it signs real envelopes, keeps one lease, answers as it is told and
 * remembers everything it hears. It decides nothing; a test that needs another answer scripts it.
 */
import { randomBytes, randomUUID } from "node:crypto";
import {
  type AttemptBatch,
  type AttemptReply,
  type AttemptRequest,
  actionsOf,
  answerId,
  contentHash,
  type CredentialFields,
  decode,
  type DeliveryStatus,
  type DeliveryStatuses,
  type Envelope,
  encode,
  type ErrorCode,
  FabricError,
  generateSealKeys,
  intentId,
  isFabricError,
  type KeyRecord,
  KeyRing,
  type Metadata,
  mintTicket,
  noteId,
  open,
  type ResumedIdentity,
  routeOf,
  SCHEMA,
  type SealContext,
  type SealKeys,
  seal,
  sealInfo,
  type Signer,
  signerFromSeed,
  ticketHash,
  ticketStamp,
  timestamp,
  toBase64url,
  traceIdOf,
} from "@linkspan/envelopes";
import {
  ACK,
  type Delivery,
  type EmbeddedBroker,
  type EmbeddedBus,
  type Outgoing,
  type QueueSpec,
} from "@linkspan/fabric";

export const PARTITIONS = 2;
export const WORKSPACE = "acme";

type Payload = Readonly<Record<string, unknown>>;

export interface Credential {
  fields: CredentialFields;
  version: number;
}

export class ScriptedCore {
  readonly signer = signerFromSeed(randomBytes(32));
  readonly bus: EmbeddedBus;
  readonly service: string;
  readonly instance: string;
  /** Everything daemons said, in order of arrival. */
  readonly heard: Envelope[] = [];
  /** Fabric requests that were made, as `action`. */
  readonly asked: Envelope[] = [];
  readonly identities = new Map<string, ResumedIdentity>();
  readonly credentials = new Map<string, Credential>();
  /** Whether events are acknowledged. */
  acking = true;
  partitions = PARTITIONS;
  /** Identities in one answer to `resume`. */
  resumePage = 100;
  /** What `resume` is refused with, if it is. */
  resumption: FabricError | undefined;
  leaseTtlMs = 3_000;
  /** How long a holder may stay, mute; undefined: as an older core, which knows one end only. */
  leaseStayMs: number | undefined;
  /** Seals credentials to a key that nobody has. */
  sealsWrongly = false;
  /** Answers nothing, as when the broker or the core is away. */
  silent = false;
  /** Whether it knows many questions in one request; false refuses the form, whatever its version says. */
  takesMany = true;
  credentialTtlMs = 60_000;
  /** What `renew` is refused with, if it is. */
  renewal: FabricError | undefined;
  /** What it tells in `hello`; before 0.2 a core knows no batches. */
  version = "0.2.0";
  /** What `attempt` is answered, each question for itself; by default everything may be said. */
  decide: (ask: AttemptRequest, envelope: Envelope) => AttemptReply | Promise<AttemptReply> = () => GO;
  #holder: { bootId: string; untilMs: number } | undefined;
  #epoch = 0;
  #intake = Promise.resolve();
  readonly #sealKeys: SealKeys;
  readonly #leases = new Map<string, SealContext & { readonly identity: string }>();
  readonly #daemons: { readonly signer: Signer; readonly sealKeys: SealKeys }[] = [];
  #keys: KeyRing;

  private constructor(bus: EmbeddedBus, service: string, instance: string, sealKeys: SealKeys) {
    this.bus = bus;
    this.service = service;
    this.instance = instance;
    this.#sealKeys = sealKeys;
    this.#keys = new KeyRing(this.records());
  }

  static async start(broker: EmbeddedBroker, service = "echo", instance = "primary"): Promise<ScriptedCore> {
    const core = new ScriptedCore(broker.connect("core"), service, instance, await generateSealKeys());
    await core.#listen();
    return core;
  }

  /** Keys of one daemon process, registered. */
  async enrol(): Promise<{ readonly signer: Signer; readonly sealKeys: SealKeys }> {
    const known = this.#daemons[0];
    if (known !== undefined) return known;
    const daemon = { signer: signerFromSeed(randomBytes(32)), sealKeys: await generateSealKeys() };
    this.#daemons.push(daemon);
    this.#keys.replace(this.records());
    return daemon;
  }

  get issuer(): string {
    return `daemon:${this.service}:${this.instance}`;
  }

  get epoch(): number {
    return this.#epoch;
  }

  records(): KeyRecord[] {
    const always = { not_before: "2020-01-01T00:00:00.000Z", not_after: "2099-01-01T00:00:00.000Z" };
    const core: KeyRecord = {
      kid: this.signer.kid,
      public_key_b64u: toBase64url(this.signer.publicKey),
      seal_b64u: toBase64url(this.#sealKeys.publicKey),
      issuers: ["core"],
      purposes: ["envelope", "ticket"],
      services: ["*"],
      workspaces: ["*"],
      ...always,
    };
    const daemons = this.#daemons.map(
      ({ signer, sealKeys }): KeyRecord => ({
        kid: signer.kid,
        public_key_b64u: toBase64url(signer.publicKey),
        seal_b64u: toBase64url(sealKeys.publicKey),
        issuers: [this.issuer],
        purposes: ["envelope"],
        services: [this.service, "core", "vault"],
        workspaces: ["*"],
        ...always,
      }),
    );
    return [core, ...daemons];
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

  /** Every status that was heard, alone or among others, in order of arrival. */
  get statuses(): DeliveryStatus[] {
    return this.heard.flatMap(({ action, payload }) => {
      if (action === "delivery_status") return [payload as DeliveryStatus];
      if (action !== "delivery_statuses") return [];
      return (payload as DeliveryStatuses).statuses.map(
        ({ message_id: _messageId, identity_id: _identityId, ...status }) => status,
      );
    });
  }

  /** Every question that was asked, alone or among others. */
  get asks(): AttemptRequest[] {
    return this.asked.flatMap(({ action, payload }) => {
      if (action !== "attempt") return [];
      return "asks" in payload ? [...(payload as AttemptBatch).asks] : [payload as AttemptRequest];
    });
  }

  /** What was heard of one action, as payloads. */
  payloads<T = Payload>(action: string): T[] {
    return this.heard.filter((envelope) => envelope.action === action).map(({ payload }) => payload as T);
  }

  /** Takes the lease away, as another process would. */
  seize(): void {
    this.#holder = { bootId: "somebody else", untilMs: performance.now() + 1_000 };
    this.#epoch += 1;
  }

  /** Publishes an intent as its n-th attempt; resolves when the daemon settled it. */
  async say(
    identityId: string,
    payload: Payload,
    options: {
      readonly key?: string;
      readonly attempt?: number;
      readonly action?: string;
      readonly conversation?: string;
      readonly claims?: Payload;
      readonly metadata?: Partial<Metadata>;
    } = {},
  ): Promise<string> {
    const { key = randomUUID(), attempt = 1, action = "outbound_message", conversation } = options;
    const id = intentId(WORKSPACE, key);
    const metadata: Metadata = {
      issuer: "core",
      workspace_id: WORKSPACE,
      instance: this.instance,
      message_id: id,
      identity_id: identityId,
      user_id: "ada",
      ...(conversation !== undefined && { conversation }),
    };
    const draft = this.#envelope(this.service, action, payload, metadata);
    const { signer } = await this.enrol();
    const ticket = mintTicket(
      {
        ...ticketStamp(["send"], new Date()),
        iss: "core",
        aud: this.issuer,
        cnf: signer.kid,
        workspace_id: WORKSPACE,
        identity_id: identityId,
        service: this.service,
        actions: [action],
        capabilities: ["send"],
        ...(conversation !== undefined && { conversation }),
        intent_hash: toBase64url(contentHash(draft)),
        attempt,
        ...options.claims,
      },
      this.signer,
    );
    const signed = { ...draft, metadata: { ...metadata, ticket, ...options.metadata } };
    await this.bus.publish(this.#outgoing(signed));
    return id;
  }

  /** An outbound message signed by somebody who is not enrolled. */
  sayAsStranger(identityId: string, payload: Payload): Promise<void> {
    return this.#forge(identityId, payload, "core", signerFromSeed(randomBytes(32)));
  }

  /** An outbound message that the core's key signs in another's name. */
  sayAsDaemon(identityId: string, payload: Payload): Promise<void> {
    return this.#forge(identityId, payload, this.issuer, this.signer);
  }

  #forge(identityId: string, payload: Payload, issuer: string, signer: Signer): Promise<void> {
    const envelope = this.#envelope(this.service, "outbound_message", payload, {
      issuer,
      workspace_id: WORKSPACE,
      instance: this.instance,
      message_id: intentId(WORKSPACE, randomUUID()),
      identity_id: identityId,
    });
    return this.bus.publish({ ...this.#outgoing(envelope), ...encode(envelope, signer) });
  }

  /** Asks the daemon something and opens its answer. */
  async request(action: string, payload: Payload, metadata: Partial<Metadata> = {}): Promise<Envelope> {
    const id = noteId("core", action, randomUUID());
    const envelope = this.#envelope(this.service, action, payload, {
      issuer: "core",
      workspace_id: WORKSPACE,
      instance: this.instance,
      message_id: id,
      ...metadata,
    });
    const answer = await this.bus.request(this.#outgoing(envelope), { timeoutMs: 10_000 });
    return this.#opened(answer);
  }

  /** Tells the daemon something that wants no answer, such as `request_history`. */
  async tell(
    action: string,
    payload: Payload,
    metadata: Partial<Metadata> = {},
    service = this.service,
  ): Promise<void> {
    const envelope = this.#envelope(service, action, payload, {
      issuer: "core",
      workspace_id: WORKSPACE,
      instance: service === "core" ? "primary" : this.instance,
      message_id: noteId("core", action, randomUUID()),
      ...metadata,
    });
    await this.bus.publish(this.#outgoing(envelope));
  }

  /** A ticket to connect with. */
  async sessionTicket(identityId: string): Promise<string> {
    const { signer } = await this.enrol();
    return mintTicket(
      {
        ...ticketStamp(["session"], new Date()),
        iss: "core",
        aud: this.issuer,
        cnf: signer.kid,
        workspace_id: WORKSPACE,
        identity_id: identityId,
        service: this.service,
        actions: [],
        capabilities: ["session"],
      },
      this.signer,
    );
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
    const actions = actionsOf(this.service).filter(
      ({ direction, unasked }) => direction === "to_core" || unasked,
    );
    const inbound = Array.from(
      { length: PARTITIONS },
      (_, partition): QueueSpec => ({
        name: `core.inbound.p0${partition}`,
        kind: "partition",
        bindings: actions.map(({ name: action }) => ({ action, partition })),
      }),
    );
    const requests: QueueSpec[] = ["core", "vault"].map((service) => ({
      name: `${service}.requests`,
      kind: "shared",
      bindings: ["hello", "resume", "attempt", "checkout", "renew", "release", "write_back"].map(
        (action) => ({
          service,
          action,
        }),
      ),
    }));
    await this.bus.declare([...inbound, ...requests]);
    for (const queue of inbound) {
      await this.bus.subscribe(queue, {
        handle: async (batch) => Promise.all(batch.map((one) => this.#take(one.delivery))),
      });
    }
    for (const queue of requests) {
      const handle = async (batch: readonly { readonly delivery: Delivery }[]) => {
        for (const { delivery } of batch) void this.#answer(delivery);
        return batch.map(() => ACK);
      };
      await this.bus.subscribe(queue, { handle });
    }
  }

  /** Settles nothing that daemons say, until what is returned is called. */
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
    const envelope = this.#opened(delivery, delivery.route);
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
    const request = this.#opened(delivery, delivery.route);
    this.asked.push(request);
    if (this.silent) return;
    let payload: Payload;
    try {
      payload = (await this.#replyTo(request)) as Payload;
    } catch (error) {
      payload = refusalOf(error);
    }
    const { metadata, service, action, trace_id } = request;
    const envelope = this.#envelope(service, action, payload, {
      issuer: "core",
      workspace_id: metadata.workspace_id,
      instance: "primary",
      message_id: answerId(action, metadata.message_id, "ok", 1),
      in_reply_to: metadata.message_id,
    });
    const answer = this.#outgoing({ ...envelope, trace_id });
    const { replyTo, correlationId } = delivery;
    if (replyTo !== undefined) await this.bus.reply(replyTo, { ...answer, correlationId });
  }

  async #replyTo({ action, payload, metadata }: Envelope): Promise<object> {
    switch (action) {
      case "hello":
        return this.#hello(String(payload.boot_id));
      case "resume":
        return this.#resume(String(payload.cursor ?? ""));
      case "attempt":
        return this.#decide(payload, { payload, metadata } as Envelope);
      case "checkout":
        return this.#checkOut(String(payload.ticket));
      case "renew":
        if (!this.#leases.has(String(payload.lease_id)))
          throw new FabricError("vault.lease_expired", "it ended");
        if (this.renewal !== undefined) throw this.renewal;
        return { ttl_ms: this.credentialTtlMs };
      case "release":
        this.#leases.delete(String(payload.lease_id));
        return {};
      default:
        return this.#writeBack(payload);
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

  #hello(bootId: string) {
    const nowMs = performance.now();
    const free =
      this.#holder === undefined || this.#holder.untilMs <= nowMs || this.#holder.bootId === bootId;
    if (free) {
      if (this.#holder?.bootId !== bootId) this.#epoch += 1;
      this.#holder = { bootId, untilMs: nowMs + this.leaseTtlMs };
    }
    const lease = free
      ? {
          state: "held",
          epoch: this.#epoch,
          ttl_ms: this.leaseTtlMs,
          ...(this.leaseStayMs !== undefined && { stay_ms: this.leaseStayMs }),
        }
      : { state: "taken", retry_after_ms: 100 };
    return { version: this.version, generation: 1, partitions: this.partitions, keys: this.records(), lease };
  }

  async #checkOut(ticket: string) {
    const claims = JSON.parse(Buffer.from(ticket.split(".")[1] ?? "", "base64url").toString()) as {
      identity_id: string;
    };
    const identity = claims.identity_id;
    const lease = { lease_id: randomUUID(), ttl_ms: this.credentialTtlMs };
    const context = {
      leaseId: lease.lease_id,
      daemon: this.issuer,
      workspaceId: WORKSPACE,
      identityId: identity,
      ticketHash: ticketHash(ticket),
    };
    this.#leases.set(lease.lease_id, { ...context, identity });
    const credential = this.credentials.get(identity);
    if (credential === undefined) return { ...lease, version: 0 };
    const { sealKeys } = this.sealsWrongly ? { sealKeys: await generateSealKeys() } : await this.enrol();
    const sealed = await seal(sealKeys.publicKey, sealInfo(context), credential.fields);
    return { ...lease, version: credential.version, sealed };
  }

  async #writeBack({ lease_id, version, sealed }: Payload) {
    const context = this.#leases.get(String(lease_id));
    const credential = context && this.credentials.get(context.identity);
    if (context === undefined || credential === undefined)
      throw new FabricError("vault.lease_expired", "it ended");
    if (credential.version !== version) throw new FabricError("vault.conflict", "there is a newer one");
    const fields = await open(
      this.#sealKeys.privateKey,
      sealInfo(context),
      sealed as { enc: string; ct: string },
    );
    this.credentials.set(context.identity, { fields, version: credential.version + 1 });
    return { version: credential.version + 1 };
  }

  #opened({ body, kid, sig }: Delivery, route?: Delivery["route"]): Envelope {
    const received = { body, kid, sig, ...(route !== undefined && { route }) };
    return decode(received, { keys: this.#keys, now: new Date(), partitions: PARTITIONS }).envelope;
  }

  #envelope(service: string, action: string, payload: Payload, metadata: Metadata): Envelope {
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

  #outgoing(envelope: Envelope): Outgoing {
    const { message_id, in_reply_to } = envelope.metadata;
    return {
      ...encode(envelope, this.signer),
      route: routeOf(envelope, PARTITIONS),
      messageId: message_id,
      ...(in_reply_to !== undefined && { inReplyTo: in_reply_to }),
    };
  }
}

function refusalOf(error: unknown): { error: { code: string; detail: string } } {
  const { code, message } = isFabricError(error) ? error : new FabricError("internal", String(error));
  return { error: { code, detail: message } };
}

export const GO: AttemptReply = { decision: "go", window_ms: 10_000 };

const ACKS: Readonly<Record<string, string>> = {
  telegram: "ack_update",
  matrix: "ack_sync",
  irc: "ack_offset",
  xmpp: "ack_receipt",
};

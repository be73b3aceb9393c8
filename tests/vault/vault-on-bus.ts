/** The vault behind its fabric side, with daemons that ask it: real keys, real envelopes, real tickets. */
import { randomBytes, randomUUID } from "node:crypto";
import {
  canonical,
  decode,
  type Envelope,
  ENVELOPE_TYPE,
  type ErrorReply,
  FabricError,
  generateSealKeys,
  type KeyRecord,
  KeyRing,
  type Metadata,
  type LoadRowsReply,
  mintTicket,
  noteId,
  open,
  openRows,
  routeOf,
  type RowChanges,
  type RowsContext,
  SCHEMA,
  type Sealed,
  seal,
  sealInfo,
  type SealKeys,
  sealRows,
  type Signer,
  signerFromSeed,
  type TicketClaims,
  ticketHash,
  ticketStamp,
  timestamp,
  toBase64url,
} from "@linkspan/envelopes";
import type { Bus, Delivery, Outgoing } from "@linkspan/fabric";
import { type AuthorityClaim, type EnvelopeVault, serveVault } from "@linkspan/vault";
import { groupedRows } from "@linkspan/worker";
import { DirectBus, type Handled } from "./direct-bus.ts";
import { textOf, type World } from "./world.ts";

const PARTITIONS = 8;

export class VaultOnBus {
  readonly world: World;
  readonly vault: EnvelopeVault;
  readonly direct = new DirectBus();
  readonly core: Signer;
  readonly coreSeal: SealKeys;
  readonly keys: KeyRing;
  /** Everything that was logged, as a log line would read. */
  readonly logged: string[] = [];
  /** Set: how daemons ask, instead of directly. */
  request: ((message: Outgoing) => Promise<Delivery>) | undefined;
  /** Set: who may act, and who not. */
  authority: (claim: AuthorityClaim) => Promise<void> = async () => undefined;

  private constructor(world: World, vault: EnvelopeVault, coreSeal: SealKeys) {
    this.world = world;
    this.vault = vault;
    this.coreSeal = coreSeal;
    this.core = signerFromSeed(randomBytes(32));
    this.keys = new KeyRing([
      recordOf(this.core, "core", {
        purposes: ["envelope", "ticket"],
        seal_b64u: toBase64url(coreSeal.publicKey),
      }),
    ]);
  }

  /** @param bus default: requests are handed straight to the vault's handler */
  static async serve(
    world: World,
    vault: EnvelopeVault,
    bus?: Pick<Bus, "subscribe" | "reply">,
  ): Promise<VaultOnBus> {
    const served = new VaultOnBus(world, vault, await generateSealKeys());
    const log = (fields: object): void => {
      served.logged.push(JSON.stringify(fields));
    };
    await serveVault({
      bus: bus ?? served.direct,
      leases: vault.leases,
      rows: groupedRows(vault.rows),
      keys: served.keys,
      signer: served.core,
      sealKeys: served.coreSeal,
      partitions: PARTITIONS,
      authority: (claim) => served.authority(claim),
      now: () => world.now(),
      log: { info: log, warn: log },
    });
    return served;
  }

  async enrol(issuer: string, changes: Partial<KeyRecord> = {}): Promise<Daemon> {
    const seal = await generateSealKeys();
    const signer = signerFromSeed(randomBytes(32));
    const record = recordOf(signer, issuer, { seal_b64u: toBase64url(seal.publicKey), ...changes });
    this.keys.replace([...this.keys.records(), record]);
    return new Daemon(this, issuer, signer, seal);
  }
}

export interface Lease {
  readonly lease_id: string;
  readonly ttl_ms: number;
  readonly version: number;
  readonly sealed?: Sealed;
  readonly ticket: string;
}

export class Daemon {
  readonly issuer: string;
  readonly signer: Signer;
  readonly seal: SealKeys;
  epoch: number | undefined = 1;
  readonly #served: VaultOnBus;

  constructor(served: VaultOnBus, issuer: string, signer: Signer, sealKeys: SealKeys) {
    this.#served = served;
    this.issuer = issuer;
    this.signer = signer;
    this.seal = sealKeys;
  }

  /** A session ticket for this daemon, as the core mints it. */
  ticket(changes: Partial<TicketClaims> = {}, signer: Signer = this.#served.core): string {
    const claims: TicketClaims = {
      ...ticketStamp(changes.capabilities ?? ["session"], this.#served.world.now()),
      iss: "core",
      aud: this.issuer,
      cnf: this.signer.kid,
      workspace_id: "ws1",
      identity_id: "id-1",
      service: this.issuer.split(":")[1] ?? "",
      actions: [],
      capabilities: ["session"],
      ...changes,
    };
    return mintTicket(claims, signer);
  }

  request(action: string, payload: Envelope["payload"], metadata: Partial<Metadata> = {}): Outgoing {
    const now = this.#served.world.now();
    const envelope: Envelope = {
      schema: SCHEMA,
      service: "vault",
      action,
      trace_id: randomUUID(),
      occurred_at: timestamp(now),
      metadata: {
        issuer: this.issuer,
        workspace_id: "ws1",
        instance: "primary",
        message_id: noteId(this.issuer, action, randomUUID()),
        expires_at: timestamp(new Date(now.getTime() + 30_000)),
        ...(this.epoch !== undefined && { epoch: this.epoch }),
        ...metadata,
      },
      payload,
    };
    // Not `encode`, which would refuse what the vault is to refuse.
    const body = canonical(envelope);
    return {
      body,
      kid: this.signer.kid,
      sig: this.signer.sign(ENVELOPE_TYPE, body),
      route: routeOf(envelope, PARTITIONS),
      messageId: envelope.metadata.message_id,
    };
  }

  deliver(message: Outgoing): Promise<Handled> {
    return this.#served.direct.deliver(message);
  }

  /** The answer's payload, proven to be the core's. @throws FabricError the code it refuses with */
  async ask(message: Outgoing): Promise<Record<string, unknown>> {
    const { request } = this.#served;
    if (request !== undefined) return this.proven(message, await request(message));
    const { verdict, reply } = await this.deliver(message);
    if (verdict.do === "dead") throw new FabricError(verdict.code, verdict.detail ?? "");
    if (reply === undefined) throw new Error("there was no answer");
    const { kid, sig } = reply;
    return this.proven(message, { body: reply.body, kid, sig });
  }

  /** @throws FabricError the code in the answer */
  proven(
    message: Outgoing,
    { body, kid, sig }: Pick<Delivery, "body" | "kid" | "sig">,
  ): Record<string, unknown> {
    const { envelope } = decode(
      { body, kid, sig },
      { keys: this.#served.keys, now: this.#served.world.now(), partitions: PARTITIONS },
    );
    if (envelope.metadata.issuer !== "core") throw new Error("answered by another");
    if (envelope.metadata.in_reply_to !== message.messageId)
      throw new Error("the answer to another question");
    if ("error" in envelope.payload) {
      const { code, detail } = (envelope.payload as unknown as ErrorReply).error;
      throw new FabricError(code, detail);
    }
    return envelope.payload;
  }

  async checkOut(
    changes: Partial<TicketClaims> = {},
    metadata: Partial<Metadata> = {},
    scope = "session",
  ): Promise<Lease> {
    const ticket = this.ticket(changes);
    const { workspace_id } = { workspace_id: changes.workspace_id ?? "ws1" };
    const answer = await this.ask(this.request("checkout", { ticket, scope }, { workspace_id, ...metadata }));
    return { ...(answer as unknown as Omit<Lease, "ticket">), ticket };
  }

  async opened(lease: Lease, identityId = "id-1", workspaceId = "ws1"): Promise<Record<string, string>> {
    if (lease.sealed === undefined) return {};
    const fields = await open(this.seal.privateKey, this.#info(lease, identityId, workspaceId), lease.sealed);
    return Object.fromEntries(Object.entries(fields).map(([name, bytes]) => [name, textOf(bytes) ?? ""]));
  }

  async sealed(lease: Lease, fields: Record<string, Uint8Array>, identityId = "id-1"): Promise<Sealed> {
    return seal(this.#served.coreSeal.publicKey, this.#info(lease, identityId, "ws1"), fields);
  }

  renew(lease: Pick<Lease, "lease_id">, metadata: Partial<Metadata> = {}): Promise<Record<string, unknown>> {
    return this.ask(this.request("renew", { lease_id: lease.lease_id }, metadata));
  }

  release(lease: Pick<Lease, "lease_id">): Promise<Record<string, unknown>> {
    return this.ask(this.request("release", { lease_id: lease.lease_id }));
  }

  async writeBack(
    lease: Lease,
    fields: Record<string, Uint8Array>,
    version = lease.version,
  ): Promise<Record<string, unknown>> {
    const sealed = await this.sealed(lease, fields);
    return this.ask(this.request("write_back", { lease_id: lease.lease_id, version, sealed }));
  }

  /** @returns the answer's payload */
  async commitRows(
    version: number,
    changes: RowChanges,
    identityId = "id-1",
    metadata: Partial<Metadata> = {},
  ): Promise<Record<string, unknown>> {
    return this.ask(await this.commitRequest(version, changes, identityId, metadata));
  }

  async commitRequest(
    version: number,
    changes: RowChanges,
    identityId = "id-1",
    metadata: Partial<Metadata> = {},
  ): Promise<Outgoing> {
    const context = this.#rowsContext("commit", version, identityId, "", metadata.workspace_id);
    const sealed = await sealRows(this.#served.coreSeal.publicKey, context, changes);
    return this.request("commit_rows", { identity_id: identityId, version, sealed }, metadata);
  }

  /** All pages. @returns rows as text */
  async loadRows(
    identityId = "id-1",
    metadata: Partial<Metadata> = {},
  ): Promise<{ readonly version: number; readonly rows: Record<string, string>; readonly pages: number }> {
    const rows: Record<string, string> = {};
    let [cursor, version, pages] = [undefined as string | undefined, undefined as number | undefined, 0];
    do {
      const more = cursor === undefined ? {} : { cursor, version };
      const answer = (await this.ask(
        this.request("load_rows", { identity_id: identityId, ...more }, metadata),
      )) as unknown as LoadRowsReply;
      if (answer.sealed !== undefined) {
        const at = cursor ?? "";
        const context = this.#rowsContext("load", answer.version, identityId, at, metadata.workspace_id);
        const opened = await openRows(this.seal.privateKey, context, answer.sealed);
        for (const [name, value] of opened) rows[name] = textOf(value) ?? "";
      }
      ({ cursor, version } = answer);
      pages += 1;
    } while (cursor !== undefined);
    return { version, rows, pages };
  }

  #rowsContext(
    direction: RowsContext["direction"],
    version: number,
    identityId: string,
    cursor: string,
    workspaceId = "ws1",
  ): RowsContext {
    return { direction, daemon: this.issuer, workspaceId, identityId, version, cursor };
  }

  #info(lease: Lease, identityId: string, workspaceId: string): Uint8Array {
    return sealInfo({
      leaseId: lease.lease_id,
      daemon: this.issuer,
      workspaceId,
      identityId,
      ticketHash: ticketHash(lease.ticket),
    });
  }
}

function recordOf(signer: Signer, issuer: string, changes: Partial<KeyRecord>): KeyRecord {
  return {
    kid: signer.kid,
    public_key_b64u: toBase64url(signer.publicKey),
    issuers: [issuer],
    purposes: ["envelope"],
    services: ["*"],
    workspaces: ["*"],
    not_before: "2026-01-01T00:00:00.000Z",
    not_after: "2036-01-01T00:00:00.000Z",
    ...changes,
  };
}

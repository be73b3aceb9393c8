/**
 * The vault's service on the bus: answers `bridge/vault/{checkout,renew,release,write_back,load_rows,commit_rows}`.
 *
 * envelope (signature, schema, route) → issuer is a daemon → checkout: its ticket, for this daemon, key,
 * workspace and identity, covering the scope; other requests: its lease → the caller still holds its instance
 * and serves the identity (for rows: asked inside their own transaction) → audit entry committed → answer, signed. A
 * request that is not proven to come from
 * a known key gets no answer: it is dead-lettered with its code.
 */
import {
  CODES,
  decodeBatch,
  type ErrorCode,
  FabricError,
  fromBase64url,
  isFabricError,
  type KeyRing,
  type Opened,
  open,
  seal,
  sealInfo,
  type SealKeys,
  type Signer,
} from "@linkspan/envelopes";
import type { Bus, Delivery, Prepared, QueueSpec, Subscription, Verdict } from "@linkspan/fabric";
import type { AuthorityClaim } from "../authority.ts";
import type { CredentialLeases } from "../leases/credential-leases.ts";
import type { Lease } from "../leases/leases.ts";
import { answerTo, type AnswerAuthor, errorPayload } from "./answers.ts";
import { type Asked, askedOf, assertScope, ticketOf } from "./asked.ts";
import { commitRows, loadRows, type RowService } from "./row-answers.ts";

/** Shared by all cores of a namespace; the program that declares the topology also declares this queue. */
export const VAULT_REQUESTS: QueueSpec = {
  name: "vault.requests",
  kind: "shared",
  bindings: [{ service: "vault" }],
};

export interface VaultServiceOptions extends AnswerAuthor {
  readonly bus: Pick<Bus, "subscribe" | "reply">;
  readonly leases: CredentialLeases;
  /** Absent: requests for rows are refused. */
  readonly rows?: RowService;
  readonly keys: KeyRing;
  readonly signer: Signer;
  /**
   * The core's own key pair: daemons seal to its public half, which its key record announces as `seal_b64u`.
   */
  readonly sealKeys: SealKeys;
  readonly partitions: number;
  /**
   * Resolves when the daemon holds its instance in that epoch and serves that identity.
   *
   * @throws FabricError otherwise, such as `lease.lost` or `envelope.wrong_issuer`
   */
  readonly authority: (claim: AuthorityClaim) => Promise<void>;
  readonly now: () => Date;
  readonly log: VaultLog;
  /** Called for every refused request, verified or not, to count them. Must not throw. */
  readonly refused?: (refusal: RefusedRequest) => void;
}

export interface RefusedRequest {
  readonly kid: string | undefined;
  readonly code: ErrorCode;
}

/** The part of a pino logger that is used. */
export interface VaultLog {
  info(fields: object): void;
  warn(fields: object): void;
}

const ACK: Verdict = { do: "ack" };

/** After this time the requester has stopped waiting. */
const MAX_ATTEMPTS = 10;

/**
 * Refusals in a minute that get an audit entry each. Further ones are only counted, because entries are kept
 * for good and a daemon could fill the disk with them.
 */
const AUDITED_A_MINUTE = 120;
const MINUTE_MS = 60_000;

/** Requests of one batch that are answered concurrently; commits of rows not counted, which share transactions. */
const AT_ONCE = 8;

type Payload = Readonly<Record<string, unknown>>;

/** Serves until the subscription is disposed of or drained. @throws FabricError `bus.*` */
export function serveVault(options: VaultServiceOptions): Promise<Subscription> {
  const service = new VaultService(options);
  return options.bus.subscribe<Opened | FabricError>(
    VAULT_REQUESTS,
    {
      prepare: (batch) => service.open(batch),
      handle: (batch) => service.handleAll(batch),
    },
    { maxBatch: 64, lingerMs: 0 },
  );
}

class VaultService {
  readonly #options: VaultServiceOptions;
  #minute = 0;
  #audited = 0;

  constructor(options: VaultServiceOptions) {
    this.#options = options;
  }

  open(batch: readonly Delivery[]): Promise<(Opened | FabricError)[]> {
    const { keys, partitions, now } = this.#options;
    const received = batch.map(({ body, kid, sig, route }) => ({ body, kid, sig, route }));
    return decodeBatch(received, { keys, now: now(), partitions, signatures: "required" });
  }

  async handleAll(batch: readonly Prepared<Opened | FabricError>[]): Promise<Verdict[]> {
    const verdicts = new Map<Prepared<Opened | FabricError>, Verdict>();
    const settle = async (prepared: Prepared<Opened | FabricError>): Promise<void> => {
      verdicts.set(prepared, await this.#handle(prepared));
    };
    const others = batch.filter((prepared) => !isCommit(prepared));
    await Promise.all([...batch.filter(isCommit).map(settle), inGroups(others, settle)]);
    return batch.map((prepared) => verdicts.get(prepared) ?? ACK);
  }

  async #handle({ delivery, value: opened }: Prepared<Opened | FabricError>): Promise<Verdict> {
    if (isFabricError(opened)) return this.#dead(opened, delivery.kid);
    let asked: Asked;
    try {
      asked = askedOf(opened);
    } catch (error) {
      return this.#dead(asFabricError(error), delivery.kid);
    }
    const payload = await this.#answer(asked).catch((error: unknown) =>
      this.#refusal(asked, error, delivery.kid),
    );
    const { replyTo, correlationId } = delivery;
    if (replyTo === undefined) return ACK;
    const { bus, partitions, log } = this.#options;
    const answer = answerTo(opened.envelope, payload, this.#options, partitions);
    try {
      await bus.reply(replyTo, { ...answer, correlationId });
      return ACK;
    } catch (error) {
      const { code } = asFabricError(error);
      log.warn({ event: "vault.unanswered", trace_id: asked.traceId, code });
      if (CODES[code].retry === "never" || delivery.attempt >= MAX_ATTEMPTS) return ACK;
      // The same request gets the same lease or version again.
      return { do: "retry", afterMs: 1_000 };
    }
  }

  async #answer(asked: Asked): Promise<Payload> {
    const { leases, sealKeys } = this.#options;
    const { request, holder } = asked;
    switch (request.action) {
      case "checkout":
        return this.#checkOut(asked, request);
      case "renew":
        await this.#assertAuthority(asked, await leases.identityOf(request.leaseId, holder));
        return { ttl_ms: await leases.renew(request.leaseId, holder) };
      case "release":
        await leases.release(request.leaseId, holder, asked.epoch ?? 0);
        return {};
      case "write_back": {
        const { leaseId, version, sealed } = request;
        await this.#assertAuthority(asked, await leases.identityOf(leaseId, holder));
        const work = (lease: Lease) => open(sealKeys.privateKey, infoOf(lease), sealed);
        return {
          version: await leases.writeBack({ leaseId, holder, version, requestId: asked.requestId }, work),
        };
      }
      case "load_rows":
        return loadRows(asked, request, this.#rows, () => this.#sealKeyOf(holder.kid));
      case "commit_rows":
        return commitRows(asked, request, this.#rows, sealKeys.privateKey);
    }
  }

  get #rows(): RowService {
    const { rows } = this.#options;
    if (rows === undefined) throw new FabricError("action.unsupported", "this vault keeps no rows");
    return rows;
  }

  async #checkOut(
    asked: Asked,
    request: Extract<Asked["request"], { action: "checkout" }>,
  ): Promise<Payload> {
    const { keys, now, leases } = this.#options;
    const ticket = ticketOf(asked, request.ticket, keys, now());
    assertScope(ticket.claims, request.scope);
    const identityId = ticket.claims.identity_id;
    await this.#assertAuthority(asked, identityId);
    const sealKey = this.#sealKeyOf(asked.holder.kid);
    const { leaseId, ttlMs, version, sealed } = await leases.checkOut(
      {
        holder: { ...asked.holder, identityId },
        service: ticket.claims.service,
        scope: request.scope,
        epoch: asked.epoch ?? 0,
        ticketHash: ticket.hash,
        requestId: asked.requestId,
        linking: ticket.linking,
      },
      (lease, fields) => seal(sealKey, infoOf(lease), fields),
    );
    const { log } = this.#options;
    log.info({
      event: "vault.checked_out",
      trace_id: asked.traceId,
      lease_id: leaseId,
      scope: request.scope,
    });
    return { lease_id: leaseId, ttl_ms: ttlMs, version, ...(sealed !== undefined && { sealed }) };
  }

  #assertAuthority(asked: Asked, identityId: string): Promise<void> {
    const { daemon, kid, workspaceId } = asked.holder;
    return this.#options.authority({ daemon, kid, epoch: asked.epoch, workspaceId, identityId });
  }

  #sealKeyOf(kid: string): Uint8Array {
    const registered = this.#options.keys.get(kid)?.record.seal_b64u;
    const key = registered === undefined ? undefined : fromBase64url(registered);
    if (key === undefined) {
      throw new FabricError("envelope.unknown_key", "the daemon has registered no seal key; enrol it again");
    }
    return key;
  }

  /** Reports a refusal to the log, the audit and the caller. */
  async #refusal(asked: Asked, error: unknown, kid: string | undefined): Promise<Payload> {
    const { leases, log, refused } = this.#options;
    const refusal = asFabricError(error);
    refused?.({ kid, code: refusal.code });
    const { daemon, workspaceId, identityId } = asked.holder;
    const trace_id = asked.traceId;
    const request = asked.request.action;
    log.warn({ event: "vault.refused", trace_id, request, daemon, code: refusal.code });
    if (!this.#mayAudit()) return errorPayload(refusal);
    try {
      await leases.recordRefusal({
        workspaceId,
        actor: daemon,
        subject: identityId ?? workspaceId,
        detail: { request, code: refusal.code, message_id: asked.requestId },
      });
    } catch (failure) {
      log.warn({ event: "vault.unaudited", trace_id, request, code: asFabricError(failure).code });
    }
    return errorPayload(refusal);
  }

  #mayAudit(): boolean {
    const minute = Math.floor(this.#options.now().getTime() / MINUTE_MS);
    if (minute !== this.#minute) this.#audited = 0;
    this.#minute = minute;
    this.#audited += 1;
    return this.#audited <= AUDITED_A_MINUTE;
  }

  #dead(error: FabricError, kid: string | undefined): Verdict {
    this.#options.refused?.({ kid, code: error.code });
    this.#options.log.warn({ event: "vault.rejected", code: error.code });
    return { do: "dead", code: error.code, detail: error.message };
  }
}

/** Both directions of a lease are bound to the same values. */
function infoOf(lease: Lease): Uint8Array {
  const { leaseId, daemon, workspaceId, identityId, ticketHash } = lease;
  return sealInfo({ leaseId, daemon, workspaceId, identityId, ticketHash });
}

/** Keeps the text of other errors out of answers and logs, because it may quote secrets. */
function asFabricError(error: unknown): FabricError {
  if (isFabricError(error)) return error;
  return new FabricError("internal", "the vault failed", { cause: error });
}

async function inGroups<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  for (let at = 0; at < items.length; at += AT_ONCE) {
    await Promise.all(items.slice(at, at + AT_ONCE).map(work));
  }
}

function isCommit({ value }: Prepared<Opened | FabricError>): boolean {
  return !isFabricError(value) && value.envelope.action === "commit_rows";
}

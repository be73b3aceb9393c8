/**
 * Impersonation tickets (contract section 7): the core's signed word that one daemon may act as one identity.
 *
 * A ticket holds no secret. It is bound to a daemon (`aud`), to that daemon's key (`cnf`), and to what it is
 * for; `openTicket` proves who wrote it and for whom, `assertTicketFor` that it covers this very act.
 */
import { hash, randomUUID } from "node:crypto";
import { acceptsOf } from "../codec/accepts.ts";
import { faultOf } from "../errors/fault.ts";
import { z } from "zod";
import { fromBase64url, toBase64url } from "../codec/base64url.ts";
import { canonical, canonicalText } from "../codec/canonical.ts";
import { Digest } from "../codec/envelope.ts";
import { FabricError, isFabricError } from "../errors/errors.ts";
import { ACTION, ISSUER, SERVICE, WORKSPACE } from "../names/grammar.ts";
import type { Key, KeyRing } from "./keys.ts";
import { TICKET_TYPE } from "../codec/pae.ts";
import { type Claim, claimOf, prove, proveLater } from "./proof.ts";
import { CHANNEL_REF } from "../names/refs.ts";
import type { Signer } from "../codec/sign.ts";

/** Longest life of a ticket by what it allows, seconds. One that allows several has the shortest of them. */
export const TICKET_LIFETIME_S = { send: 60, admin: 60, sync: 300, session: 3_600 } as const;

/** How far two clocks may differ, seconds. */
export const TICKET_SKEW_S = 30;

const MAX_COMPACT = 8_192;

const Seconds = z.int().min(0).meta({ description: "seconds since 1970, UTC" });
const Id = z.string().min(1).max(256);
export const TicketCapability = z.enum(["send", "admin", "sync", "session"]);

const Members = z.strictObject({
  jti: Id,
  iss: z.string().regex(ISSUER),
  aud: z.string().regex(ISSUER).meta({ description: "daemon:<service>:<instance>" }),
  cnf: Digest.meta({ description: "kid of the daemon's signing key" }),
  workspace_id: z.string().regex(WORKSPACE),
  identity_id: Id,
  service: z.string().regex(SERVICE),
  actions: z.array(z.string().regex(ACTION)).max(64),
  capabilities: z.array(TicketCapability).min(1).max(4),
  conversation: z.string().regex(CHANNEL_REF).optional(),
  intent_hash: Digest.optional(),
  attempt: z.int().min(1).optional(),
  lease_id: Id.optional(),
  policy_hash: Digest.optional(),
  decision_id: Id.optional(),
  iat: Seconds,
  nbf: Seconds,
  exp: Seconds,
});

/** Closed; times are whole seconds since 1970. */
export const TicketClaimsSchema = Members.superRefine((claims, context) => {
  const fault = incoherence(claims);
  if (fault !== undefined) context.addIssue({ code: "custom", message: fault });
});

type Shape<T> = { -readonly [K in keyof T]: T[K] };
export type TicketClaims = Readonly<Shape<z.output<typeof TicketClaimsSchema>>>;
export type TicketCapability = z.output<typeof TicketCapability>;

function incoherence(claims: {
  readonly capabilities: readonly TicketCapability[];
  readonly conversation?: string | undefined;
  readonly intent_hash?: string | undefined;
  readonly attempt?: number | undefined;
  readonly iat: number;
  readonly nbf: number;
  readonly exp: number;
}): string | undefined {
  const { capabilities, iat, nbf, exp } = claims;
  const longest = Math.min(...capabilities.map((name) => TICKET_LIFETIME_S[name]));
  if (exp <= nbf || nbf < iat || exp - iat > longest) return `it does not live between 1 and ${longest} s`;
  if (capabilities.includes("send") && (claims.intent_hash === undefined || claims.attempt === undefined)) {
    return "a ticket to send names its intent and attempt";
  }
  if (capabilities.includes("session") && claims.conversation !== undefined) {
    return "a session has no conversation";
  }
  return undefined;
}

/**
 * Id and times of a new ticket that lives as long as its capabilities let it.
 *
 * @param capabilities one or more
 */
export function ticketStamp(
  capabilities: readonly TicketCapability[],
  now: Date,
): Pick<TicketClaims, "jti" | "iat" | "nbf" | "exp"> {
  const iat = Math.floor(now.getTime() / 1_000);
  const exp = iat + Math.min(...capabilities.map((name) => TICKET_LIFETIME_S[name]));
  return { jti: randomUUID(), iat, nbf: iat, exp };
}

/**
 * @returns compact form `kid.payload.sig`, payload and signature in base64url
 * @throws FabricError `ticket.invalid` for claims outside the schema
 */
export function mintTicket(claims: TicketClaims, signer: Signer): string {
  const body = canonical(check(claims));
  return compactOf(body, signer, signer.sign(TICKET_TYPE, body));
}

/** As {@link mintTicket}; the signature is made on a thread of the pool. @throws FabricError (rejects) as there */
export async function mintTicketLater(claims: TicketClaims, signer: Signer): Promise<string> {
  const body = canonical(check(claims));
  return compactOf(body, signer, await signer.signLater(TICKET_TYPE, body));
}

function compactOf(body: Uint8Array, { kid }: Signer, signature: string): string {
  return `${kid}.${toBase64url(body)}.${signature}`;
}

/** Stands for a ticket where it must not be repeated: SHA-256 of the compact form, base64url. */
export function ticketHash(compact: string): string {
  return hash("sha256", compact, "base64url");
}

export interface TicketExpectation {
  readonly keys: KeyRing;
  readonly now: Date;
  /** Issuer string of the daemon that acts on it. */
  readonly audience: string;
  /** Kid of the key which that daemon signs with. Absent: not compared. */
  readonly cnf?: string;
  /** Who may have minted it, default `core`. */
  readonly issuer?: string;
}

/**
 * Proves a ticket: minted by a key in force for tickets, not out of time, for this daemon and its key.
 *
 * @throws FabricError `ticket.missing`, `ticket.invalid`, with a time when it is only too early, `ticket.expired`,
 *   `ticket.wrong_audience`
 */
export function openTicket(compact: string | undefined, expect: TicketExpectation): TicketClaims {
  const signed = signedOf(compact, expect);
  refusing(() => prove(signed));
  return claimsOf(signed, expect);
}

/**
 * As {@link openTicket}; the signature is checked on a thread of the pool.
 *
 * @throws FabricError (rejects) as {@link openTicket}
 */
export async function openTicketLater(
  compact: string | undefined,
  expect: TicketExpectation,
): Promise<TicketClaims> {
  const signed = signedOf(compact, expect);
  const error = await new Promise<FabricError | undefined>((resolve) => proveLater(signed, resolve));
  if (error !== undefined) throw refused(error);
  return claimsOf(signed, expect);
}

interface SignedTicket extends Claim {
  readonly body: Uint8Array;
}

/** Its signature, which is not checked yet. */
function signedOf(compact: string | undefined, { keys, now }: TicketExpectation): SignedTicket {
  if (compact === undefined || compact === "") throw new FabricError("ticket.missing", "there is no ticket");
  const signed = split(compact);
  return {
    ...refusing(() => claimOf(TICKET_TYPE, "ticket", signed, keys, now.getTime())),
    body: signed.body,
  };
}

function claimsOf({ body, key }: SignedTicket, expect: TicketExpectation): TicketClaims {
  const claims = parse(body);
  checkScope(key, claims, expect);
  checkTime(claims, expect.now);
  if (claims.aud !== expect.audience) throw wrongAudience("it was minted for another daemon");
  if (expect.cnf !== undefined && claims.cnf !== expect.cnf)
    throw wrongAudience("it is bound to another key");
  return claims;
}

/** The action that is about to be done. A member that is present must match; `conversation: undefined` means none. */
export interface TicketUse {
  readonly workspaceId: string;
  readonly identityId: string;
  readonly service: string;
  /** Canonical action name. */
  readonly action?: string;
  readonly capability?: TicketCapability;
  readonly conversation?: string | undefined;
  /** Base64url of the intent's content hash. */
  readonly intentHash?: string;
  readonly attempt?: number;
}

/**
 * Holds a ticket against the act it is shown for.
 *
 * @throws FabricError `ticket.wrong_destination`, naming the member and never its value
 */
export function assertTicketFor(claims: TicketClaims, use: TicketUse): void {
  const differs = (name: string): never => {
    throw new FabricError("ticket.wrong_destination", `the ticket does not cover this ${name}`);
  };
  if (claims.workspace_id !== use.workspaceId) differs("workspace");
  if (claims.identity_id !== use.identityId) differs("identity");
  if (claims.service !== use.service) differs("service");
  if (use.action !== undefined && !claims.actions.includes(use.action)) differs("action");
  if (use.capability !== undefined && !claims.capabilities.includes(use.capability)) differs("capability");
  if (Object.hasOwn(use, "conversation") && claims.conversation !== use.conversation) differs("conversation");
  if (use.intentHash !== undefined && claims.intent_hash !== use.intentHash) differs("intent");
  if (use.attempt !== undefined && claims.attempt !== use.attempt) differs("attempt");
}

function split(compact: string): { kid: string; body: Uint8Array; sig: string } {
  if (compact.length > MAX_COMPACT) throw invalid(`it is longer than ${MAX_COMPACT} characters`);
  const [kid, payload, sig, ...more] = compact.split(".");
  if (kid === undefined || payload === undefined || sig === undefined || more.length > 0) {
    throw invalid("it does not have three parts");
  }
  const body = fromBase64url(payload);
  if (body === undefined) throw invalid("it is not base64url");
  return { kid, body, sig };
}

/** What refuses an envelope's signature refuses a ticket with a code of its own. */
function refusing<T>(work: () => T): T {
  try {
    return work();
  } catch (cause) {
    throw refused(cause);
  }
}

function refused(cause: unknown): FabricError {
  const why = isFabricError(cause) ? cause.message : "its signature cannot be checked";
  return new FabricError("ticket.invalid", `the ticket is refused: ${why}`, { cause });
}

function parse(body: Uint8Array): TicketClaims {
  let text: string;
  let value: unknown;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(body);
    value = JSON.parse(text);
  } catch (cause) {
    throw new FabricError("ticket.invalid", "the ticket is refused: it is not JSON", { cause });
  }
  if (canonicalText(value) !== text) throw invalid("it is not in canonical form");
  return check(value);
}

function check(value: unknown): TicketClaims {
  if (!acceptsOf(Members)(value)) throw invalid(faultOf(Members, value, "claims"));
  const claims = value as TicketClaims;
  const fault = incoherence(claims);
  if (fault !== undefined) throw invalid(`claims: ${fault}`);
  return claims;
}

function checkScope({ record }: Key, claims: TicketClaims, expect: TicketExpectation): void {
  if (claims.iss !== (expect.issuer ?? "core") || !record.issuers.includes(claims.iss)) {
    throw invalid("its issuer may not mint tickets with this key");
  }
  if (!covers(record.services, claims.service) || !covers(record.workspaces, claims.workspace_id)) {
    throw invalid("its key does not cover this service and workspace");
  }
}

function covers(list: readonly string[], item: string): boolean {
  return list.includes("*") || list.includes(item);
}

function checkTime(claims: TicketClaims, now: Date): void {
  const seconds = now.getTime() / 1_000;
  const earlyS = claims.nbf - TICKET_SKEW_S - seconds;
  if (earlyS > 0) throw invalid("it is not valid yet", { retryAfterMs: Math.ceil(earlyS * 1_000) });
  if (seconds - TICKET_SKEW_S >= claims.exp) throw new FabricError("ticket.expired", "the ticket ran out");
}

function invalid(why: string, options: { readonly retryAfterMs?: number } = {}): FabricError {
  return new FabricError("ticket.invalid", `the ticket is refused: ${why}`, options);
}

function wrongAudience(why: string): FabricError {
  return new FabricError("ticket.wrong_audience", `the ticket is refused: ${why}`);
}

/** Reads a verified envelope as a request to the vault. */
import {
  assertTicketFor,
  type CheckoutRequest,
  type CommitRowsRequest,
  FabricError,
  type KeyRing,
  type LoadRowsRequest,
  type Opened,
  openTicket,
  type ReleaseRequest,
  type Sealed,
  type TicketClaims,
  ticketHash,
  type WriteBackRequest,
} from "@linkspan/envelopes";
import type { LeaseHolder, LeaseScope } from "../leases/leases.ts";

export interface Asked {
  readonly holder: LeaseHolder;
  readonly epoch: number | undefined;
  readonly requestId: string;
  readonly traceId: string;
  readonly request: VaultRequest;
}

export type VaultRequest =
  | { readonly action: "checkout"; readonly ticket: string; readonly scope: LeaseScope }
  | { readonly action: "renew"; readonly leaseId: string }
  | { readonly action: "release"; readonly leaseId: string }
  | {
      readonly action: "write_back";
      readonly leaseId: string;
      readonly version: number;
      readonly sealed: Sealed;
    }
  | RowRequest;

export type RowRequest =
  | ({ readonly action: "load_rows" } & LoadRowsRequest)
  | ({ readonly action: "commit_rows" } & CommitRowsRequest);

/** Actions in whose flow a person hands over credentials. */
const LINKING = ["link_account", "reauthenticate", "configure_identity"] as const;

/**
 * @throws FabricError `envelope.wrong_issuer` unless a daemon is the issuer, `envelope.unsigned`,
 *   `envelope.misrouted` for an answer, `action.unsupported`
 */
export function askedOf({ envelope, kid }: Opened): Asked {
  const { metadata } = envelope;
  if (kid === undefined) throw new FabricError("envelope.unsigned", "the vault answers signed requests only");
  if (metadata.in_reply_to !== undefined)
    throw new FabricError("envelope.misrouted", "an answer asks nothing");
  if (!metadata.issuer.startsWith("daemon:")) {
    throw new FabricError("envelope.wrong_issuer", "only daemons ask the vault");
  }
  return {
    holder: {
      daemon: metadata.issuer,
      kid,
      workspaceId: metadata.workspace_id,
      identityId: metadata.identity_id,
    },
    epoch: metadata.epoch,
    requestId: metadata.message_id,
    traceId: envelope.trace_id,
    request: requestOf(envelope.service, envelope.action, envelope.payload),
  };
}

export interface ShownTicket {
  readonly claims: TicketClaims;
  readonly hash: string;
  /** True when it is for linking an account. */
  readonly linking: boolean;
}

/**
 * The ticket, checked against its presenter: daemon, key, workspace, identity if the envelope names one,
 * service.
 *
 * @throws FabricError `ticket.*`
 */
export function ticketOf(asked: Asked, compact: string, keys: KeyRing, now: Date): ShownTicket {
  const { daemon, kid, workspaceId, identityId } = asked.holder;
  const claims = openTicket(compact, { keys, now, audience: daemon, cnf: kid });
  assertTicketFor(claims, {
    workspaceId,
    identityId: identityId ?? claims.identity_id,
    service: daemon.split(":")[1] ?? "",
  });
  const linking = LINKING.some((action) => claims.actions.includes(action));
  return { claims, hash: ticketHash(compact), linking };
}

/**
 * A checkout can only narrow the scope. @throws FabricError `ticket.wrong_destination` when the ticket does
 * not grant the scope
 */
export function assertScope(claims: TicketClaims, scope: LeaseScope): void {
  if (claims.capabilities.includes(scope)) return;
  throw new FabricError("ticket.wrong_destination", `the ticket does not grant a ${scope} lease`);
}

/** Payloads were checked against their schemas together with the envelope. */
function requestOf(service: string, action: string, payload: unknown): VaultRequest {
  if (service === "vault") {
    switch (action) {
      case "checkout":
        return { action, ...(payload as CheckoutRequest) };
      case "renew":
      case "release":
        return { action, leaseId: (payload as ReleaseRequest).lease_id };
      case "write_back": {
        const { lease_id, version, sealed } = payload as WriteBackRequest;
        return { action, leaseId: lease_id, version, sealed };
      }
      case "load_rows":
        return { action, ...(payload as LoadRowsRequest) };
      case "commit_rows":
        return { action, ...(payload as CommitRowsRequest) };
    }
  }
  throw new FabricError("action.unsupported", `the vault has no action ${action}`);
}

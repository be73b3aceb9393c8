/** A daemon as the vault's use-cases see it, without the fabric between. */
import { randomUUID } from "node:crypto";
import type { Checkout, EnvelopeVault } from "@linkspan/vault";
import { textOf } from "./world.ts";

export const HOLDER = {
  daemon: "daemon:irc:libera",
  kid: "kid-1",
  workspaceId: "ws1",
  identityId: "id-1",
} as const;

export interface Given {
  readonly leaseId: string;
  readonly ttlMs: number;
  readonly version: number;
  /** Fields in clear, as text. */
  readonly given: Readonly<Record<string, string>>;
}

export type CheckoutChanges = Partial<Omit<Checkout, "holder">> & Partial<Checkout["holder"]>;

export async function checkOut(vault: EnvelopeVault, changes: CheckoutChanges = {}): Promise<Given> {
  const { daemon, kid, workspaceId, identityId, ...request } = changes;
  const { sealed, ...lease } = await vault.leases.checkOut(
    {
      holder: {
        daemon: daemon ?? HOLDER.daemon,
        kid: kid ?? HOLDER.kid,
        workspaceId: workspaceId ?? HOLDER.workspaceId,
        identityId: identityId ?? HOLDER.identityId,
      },
      service: "irc",
      scope: "session",
      epoch: 1,
      ticketHash: "ticket",
      requestId: randomUUID(),
      linking: false,
      ...request,
    },
    async (_lease, fields) =>
      Object.fromEntries(Object.entries(fields).map(([name, bytes]) => [name, textOf(bytes) ?? ""])),
  );
  return { ...lease, given: sealed ?? {} };
}

/**
 * Where an identity's credential is stored in the vault, and how it is removed when the identity is unlinked.
 *
 * The vault is not part of the transaction that unlinks. So a process may end, or the vault may be sealed,
 * between the two. The row of an unlinked identity stays marked until its credential is known to be removed;
 * a sweep removes credentials that are left.
 */
import { credentialDropped, identitiesToForget } from "@linkspan/store";
import { CREDENTIAL } from "@linkspan/vault";
import type { Core } from "../core.ts";

interface Owner {
  readonly workspace_id: string;
  readonly identity_id: string;
  readonly service: string;
}

/** Where an identity's credential is stored in the vault. */
export function credentialRef(of: Owner) {
  return {
    workspaceId: of.workspace_id,
    identityId: of.identity_id,
    service: of.service,
    kind: CREDENTIAL,
  };
}

/** Removes the credential of an unlinked identity, and its durable rows. Never rejects: if it fails now, the sweep does it. */
export async function dropCredential(core: Core, of: Owner): Promise<void> {
  await core.vault.drop(credentialRef(of)).catch((error: unknown) => {
    core.log.warn(
      { event: "credential.not_dropped", identity_id: of.identity_id, err: error },
      "the credential of an unlinked account could not be removed; a sweep will remove it",
    );
  });
}

const AT_ONCE = 100;

/**
 * Removes credentials and durable rows that unlinked identities still have some minutes later, when no link is in progress any
 * more.
 *
 * @returns how many credentials
 * @throws FabricError `vault.*`, `store.unavailable`
 */
export async function sweepCredentials(core: Core): Promise<number> {
  let dropped = 0;
  for (let page = AT_ONCE; page === AT_ONCE; ) {
    const identities = await identitiesToForget(core.database.pool, AT_ONCE);
    page = identities.length;
    for (const { id, workspace_id, service } of identities) {
      const ref = credentialRef({ workspace_id, identity_id: id, service });
      if (await core.vault.has(ref)) dropped += 1;
      // Also where there is no credential: durable rows may be left.
      await core.vault.drop(ref);
      await credentialDropped(core.database.pool, id);
    }
  }
  return dropped;
}

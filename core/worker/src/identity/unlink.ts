/** Unlinking: what waits is denied, the credential is destroyed, the daemon is told to hang up. */
import { FabricError } from "@linkspan/envelopes";
import {
  audit,
  currentLease,
  dequeue,
  type Identity,
  identityById,
  lockUnsettledIntents,
  moveIntent,
  type Queryable,
  updateIdentity,
} from "@linkspan/store";
import type { Core } from "../core.ts";
import { tellChanged } from "../sync/changed.ts";
import { askDaemon } from "./ask.ts";
import { credentialRef } from "./link.ts";

const DISCONNECT_TIMEOUT_MS = 10_000;

/** @throws FabricError `request.not_found`, `vault.*`, `store.unavailable` */
export async function unlink(
  core: Core,
  workspaceId: string,
  identityId: string,
  actor: string,
): Promise<void> {
  const identity = await core.database.transaction(async (client) => {
    const known = await identityById(client, identityId);
    if (known?.workspace_id !== workspaceId || known.state === "unlinked") {
      throw new FabricError("request.not_found", "no such identity in this workspace");
    }
    await updateIdentity(client, identityId, { state: "unlinked", bridge_state: "logged_out" });
    await endUnsettled(client, identityId);
    await audit(client, { workspaceId, actor, action: "identity.unlinked", subject: identityId });
    return known;
  });
  await core.vault.drop(credentialRef({ ...identity, identity_id: identity.id }));
  await hangUp(core, identity);
  tellChanged(core, { what: "assignments", service: identity.service, instance: identity.instance });
}

/** What was not attempted is denied; what is being said right now is in doubt until the daemon reports. */
async function endUnsettled(on: Queryable, identityId: string): Promise<void> {
  const detail = "the identity was unlinked";
  for (const { id, state } of await lockUnsettledIntents(on, identityId)) {
    if (state === "attempting")
      await moveIntent(on, id, { state: "uncertain", code: "send.uncertain", detail });
    else await moveIntent(on, id, { state: "denied", code: "policy.denied", detail });
    await dequeue(on, id);
  }
}

/** A daemon that cannot be asked now learns it at its next `resume`. */
async function hangUp(core: Core, identity: Identity): Promise<void> {
  const lease = await currentLease(core.database.pool, identity.service, identity.instance);
  if (lease?.live !== true) return;
  await askDaemon(core, identity, lease, {
    action: "disconnect",
    payload: { identity_id: identity.id },
    timeoutMs: DISCONNECT_TIMEOUT_MS,
  }).catch((error: unknown) => {
    core.log.warn(
      { event: "identity.hangup_unanswered", identity_id: identity.id, err: error },
      "told at resume",
    );
  });
}

/**
 * Unlinking: waiting intents are denied, the credential is destroyed, the daemon is told to disconnect the
 * account.
 */
import { FabricError } from "@linkspan/envelopes";
import {
  audit,
  cancelAuthSessions,
  currentLease,
  type Identity,
  lockIdentity,
  lockUnsettledIntents,
  updateIdentity,
} from "@linkspan/store";
import { committed } from "../after-commit.ts";
import type { Core } from "../core.ts";
import { transitionAll } from "../outbound/transition.ts";
import { tellChanged } from "../sync/changed.ts";
import { askDaemon } from "./ask.ts";
import { dropCredential } from "./credential.ts";

const DISCONNECT_TIMEOUT_MS = 10_000;

/** Intents ended in one transaction. */
const AT_ONCE = 100;

/** @throws FabricError `request.not_found`, `store.unavailable` */
export async function unlink(
  core: Core,
  workspaceId: string,
  identityId: string,
  actor: string,
): Promise<void> {
  const identity = await core.database.transaction(async (client) => {
    // Sessions are locked first, as everywhere. A link in progress finds its session ended, whatever the
    // daemon answers.
    const sessions = await cancelAuthSessions(client, identityId);
    // Waits for intents that are being recorded; later ones see the unlinked identity.
    const known = await lockIdentity(client, identityId);
    if (known?.workspace_id !== workspaceId || known.state === "unlinked") {
      throw new FabricError("request.not_found", "no such identity in this workspace");
    }
    await updateIdentity(client, identityId, { state: "unlinked", bridge_state: "logged_out" });
    await audit(client, { workspaceId, actor, action: "identity.unlinked", subject: identityId });
    for (const { id, service } of sessions) {
      const detail = { session_id: id, service };
      await audit(client, { workspaceId, actor, action: "session.cancelled", subject: identityId, detail });
    }
    return known;
  });
  await endUnsettled(core, identityId, actor);
  await dropCredential(core, { ...identity, identity_id: identity.id });
  await hangUp(core, identity);
  tellChanged(core, { what: "assignments", service: identity.service, instance: identity.instance });
}

/**
 * Ends the open intents of an unlinked identity. Those that were not attempted are denied; those that are
 * being sent right now are in doubt until the daemon reports.
 */
export async function endUnsettled(core: Core, identityId: string, actor: string): Promise<void> {
  for (let ended = AT_ONCE; ended > 0; ) {
    ended = await committed(core, async (on, after) => {
      const intents = await lockUnsettledIntents(on, identityId, AT_ONCE);
      const detail = "the identity was unlinked";
      const step = { to: "denied", actor, code: "policy.denied", detail } as const;
      const wanted = intents.map((intent) => ({ intent, cause: "unlinking" as const, step }));
      const moved = await transitionAll(core, on, after, wanted);
      return moved.filter((intent) => intent !== undefined).length;
    });
  }
}

/** A daemon that cannot be reached now learns it at its next `resume`. */
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
      "the daemon did not answer the unlinking; it learns it at its next resume",
    );
  });
}

/**
 * What daemons tell the core besides events. Each is applied in order, in the batch's transaction, and
 * repeating it changes nothing: statuses are keyed by message id, states by their time, checkpoints by the
 * lease epoch.
 */
import {
  type BridgeStateNote,
  type Checkpoint,
  contentHash,
  type Deferred,
  type DeliveryStatus,
  FabricError,
  type Opened,
  type RosterSnapshot,
} from "@linkspan/envelopes";
import {
  audit,
  claimKey,
  identityById,
  type Queryable,
  saveCheckpoint,
  updateIdentity,
  upsertContacts,
} from "@linkspan/store";
import type { Core } from "../core.ts";
import { deferIntent, followDelivery } from "../outbound/follow.ts";
import type { Outcome } from "./outcome.ts";

/** @returns a conflict when this id was used for other content */
export async function applyEffect(
  core: Core,
  on: Queryable,
  outcome: Outcome,
  opened: Opened,
): Promise<FabricError | undefined> {
  const { envelope, action } = opened;
  switch (action.canonical) {
    case "delivery_status":
      return once(on, opened, () =>
        followDelivery(core, on, outcome, envelope, envelope.payload as DeliveryStatus),
      );
    case "deferred":
      return once(on, opened, () => deferIntent(core, on, outcome, envelope, envelope.payload as Deferred));
    case "checkpoint":
      return keepCheckpoint(on, opened, envelope.payload as Checkpoint);
    case "bridge_state":
      return keepState(core, on, outcome, opened, envelope.payload as BridgeStateNote);
    case "roster_snapshot":
      return keepRoster(on, opened, envelope.payload as RosterSnapshot);
    default:
      // Throttles, health, capabilities and progress concern people and dashboards, not tables.
      outcome.reports.push(() =>
        core.log.info(
          {
            event: `daemon.${action.canonical}`,
            service: envelope.service,
            instance: envelope.metadata.instance,
          },
          "a daemon reports",
        ),
      );
      return undefined;
  }
}

async function once(
  on: Queryable,
  opened: Opened,
  effect: () => Promise<void>,
): Promise<FabricError | undefined> {
  const { metadata } = opened.envelope;
  const claim = await claimKey(on, {
    workspaceId: metadata.workspace_id,
    messageId: Buffer.from(metadata.message_id, "base64url"),
    content: contentHash(opened.envelope),
  });
  if (claim === "conflict") return new FabricError("envelope.conflict", "this id was used for other content");
  if (claim === "new") await effect();
  return undefined;
}

async function keepCheckpoint(on: Queryable, opened: Opened, checkpoint: Checkpoint): Promise<undefined> {
  await saveCheckpoint(on, checkpoint.account, checkpoint.cursor, opened.envelope.metadata.epoch ?? 0);
}

async function keepState(
  core: Core,
  on: Queryable,
  outcome: Outcome,
  { envelope }: Opened,
  note: BridgeStateNote,
): Promise<undefined> {
  const identity = await identityById(on, note.account);
  const at = identity?.bridge_detail.at;
  if (identity === undefined || (typeof at === "string" && at > envelope.occurred_at)) return;
  const { account, state, ...detail } = note;
  await updateIdentity(on, account, {
    bridge_state: state,
    bridge_detail: { ...detail, at: envelope.occurred_at },
  });
  if (identity.bridge_state === state) return;
  await audit(on, {
    workspaceId: identity.workspace_id,
    actor: envelope.metadata.issuer,
    action: "identity.bridge_state",
    subject: account,
    detail: { from: identity.bridge_state, to: state, ...(note.code !== undefined && { code: note.code }) },
  });
  outcome.reports.push(() =>
    core.log.info({ event: "identity.bridge_state", identity_id: account, state }, "a connection changed"),
  );
}

async function keepRoster(on: Queryable, { envelope }: Opened, snapshot: RosterSnapshot): Promise<undefined> {
  await upsertContacts(on, envelope.metadata.workspace_id, snapshot.account, snapshot.entries);
}

/**
 * Reports of daemons other than events and what became of intents. Each is applied in order, in the batch's
 * transaction, and repeating it changes nothing: states are ordered by lease epoch and by the order in which the core
 * receives them, checkpoints by the lease epoch.
 */
import type { BridgeStateNote, Checkpoint, Health, Opened, RosterSnapshot } from "@linkspan/envelopes";
import {
  audit,
  type Queryable,
  saveBridgeState,
  saveCheckpoint,
  saveDeclaration,
  saveInstanceHealth,
  upsertContacts,
} from "@linkspan/store";
import type { Core } from "../core.ts";
import type { Outcome } from "./outcome.ts";

export async function applyEffect(
  core: Core,
  on: Queryable,
  outcome: Outcome,
  opened: Opened,
): Promise<void> {
  const { envelope, action } = opened;
  switch (action.canonical) {
    case "checkpoint":
      return keepCheckpoint(on, opened, envelope.payload as Checkpoint);
    case "bridge_state":
      return keepState(core, on, outcome, opened, envelope.payload as BridgeStateNote);
    case "roster_snapshot":
      return keepRoster(on, opened, envelope.payload as RosterSnapshot);
    case "capabilities":
      return keepDeclaration(on, opened);
    case "health":
    case "health_snapshot":
      return keepHealth(on, opened);
    default:
      // Throttles and progress are only for people and dashboards; no table stores them.
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
  }
}

async function keepCheckpoint(on: Queryable, opened: Opened, checkpoint: Checkpoint): Promise<void> {
  await saveCheckpoint(on, checkpoint.account, checkpoint.cursor, opened.envelope.metadata.epoch ?? 0);
}

/**
 * Times of the daemon's clock are only shown to people and decide nothing: a report of an older epoch is out
 * of date.
 */
async function keepState(
  core: Core,
  on: Queryable,
  outcome: Outcome,
  { envelope }: Opened,
  note: BridgeStateNote,
): Promise<void> {
  const { account, state, ...detail } = note;
  const before = await saveBridgeState(on, {
    account,
    state,
    detail: { ...detail, at: envelope.occurred_at },
    epoch: envelope.metadata.epoch ?? 0,
  });
  if (before === undefined || before.bridge_state === state) return;
  await audit(on, {
    workspaceId: before.workspace_id,
    actor: envelope.metadata.issuer,
    action: "identity.bridge_state",
    subject: account,
    detail: { from: before.bridge_state, to: state, ...(note.code !== undefined && { code: note.code }) },
  });
  outcome.reports.push(() =>
    core.log.info({ event: "identity.bridge_state", identity_id: account, state }, "a connection changed"),
  );
}

async function keepDeclaration(on: Queryable, { envelope }: Opened): Promise<void> {
  const { service, metadata, payload } = envelope;
  await saveDeclaration(on, { service, instance: metadata.instance }, payload, metadata.epoch);
}

async function keepHealth(on: Queryable, { envelope }: Opened): Promise<void> {
  const { service, metadata } = envelope;
  const { status: health, code, detail } = envelope.payload as Partial<Health>;
  if (health === undefined) return;
  await saveInstanceHealth(on, { service, instance: metadata.instance }, { health, code, detail });
}

async function keepRoster(on: Queryable, { envelope }: Opened, snapshot: RosterSnapshot): Promise<void> {
  await upsertContacts(on, envelope.metadata.workspace_id, snapshot.account, snapshot.entries);
}

/**
 * Whether a connector is switched on: a service that is switched off for all workspaces is off; else the
 * workspace's setting decides; the default is on. A flag is not an authorisation.
 */
import { audit, type ConnectorFlag, flagsFor, type Queryable, setFlag } from "@linkspan/store";
import { NAMESPACE_WORKSPACE } from "@linkspan/envelopes";
import type { Core } from "../core.ts";

/** Means all workspaces. */
export const ALL_WORKSPACES = "*";

export type ConnectorSwitch = (workspaceId: string, service: string) => boolean;

/** Queries the table once for all of the workspaces, inside the caller's transaction. */
export async function connectorSwitch(
  on: Queryable,
  workspaceIds: readonly string[],
): Promise<ConnectorSwitch> {
  const flags = Map.groupBy(await flagsFor(on, workspaceIds), (flag) => flag.workspace_id);
  const forAll = flags.get(ALL_WORKSPACES) ?? [];
  return (workspaceId, service) => isEnabled([...forAll, ...(flags.get(workspaceId) ?? [])], service);
}

export function isEnabled(flags: readonly ConnectorFlag[], service: string): boolean {
  const off = flags.some(
    (flag) =>
      !flag.enabled &&
      (flag.service === service || (flag.service === "*" && flag.workspace_id === ALL_WORKSPACES)),
  );
  return !off;
}

/** The audit entry with the actor and the reason is part of the change. */
export async function switchConnector(
  core: Core,
  change: ConnectorFlag & { readonly who: string; readonly why: string },
): Promise<void> {
  await core.database.transaction(async (client) => {
    await setFlag(client, change);
    await audit(client, {
      workspaceId: change.workspace_id === ALL_WORKSPACES ? NAMESPACE_WORKSPACE : change.workspace_id,
      actor: change.who,
      action: change.enabled ? "connector.switched_on" : "connector.switched_off",
      subject: change.service,
      detail: { workspace_id: change.workspace_id, why: change.why },
    });
    await core.wakes.everywhere(client, "flags");
  });
}

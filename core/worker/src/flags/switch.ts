/**
 * Whether a connector is switched on: the service's own kill for all workspaces first, then the workspace's
 * setting, then on. A flag is not an authorisation.
 */
import { audit, type ConnectorFlag, flagsFor, type Queryable, setFlag } from "@linkspan/store";
import { NAMESPACE_WORKSPACE } from "@linkspan/envelopes";
import type { Core } from "../core.ts";

/** Everyone. */
export const ALL_WORKSPACES = "*";

/** Asks the table once per workspace and call site, inside the caller's transaction. */
export function connectorSwitch(on: Queryable): (workspaceId: string, service: string) => Promise<boolean> {
  const known = new Map<string, Promise<ConnectorFlag[]>>();
  return async (workspaceId, service) => {
    const flags = known.get(workspaceId) ?? flagsFor(on, workspaceId);
    known.set(workspaceId, flags);
    return isEnabled(await flags, service);
  };
}

export function isEnabled(flags: readonly ConnectorFlag[], service: string): boolean {
  const off = flags.some(
    (flag) =>
      !flag.enabled &&
      (flag.service === service || (flag.service === "*" && flag.workspace_id === ALL_WORKSPACES)),
  );
  return !off;
}

/** Who changed it and why is part of the change. */
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

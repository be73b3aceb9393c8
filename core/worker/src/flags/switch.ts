/**
 * Whether a connector is switched on: the service's own kill for all workspaces first, then the workspace's
 * setting, then on. A flag is not an authorisation.
 */
import { flagsFor, type Queryable, setFlag, type ConnectorFlag } from "@linkspan/store";
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

export async function switchConnector(
  core: Core,
  change: ConnectorFlag & { readonly who: string; readonly why: string },
): Promise<void> {
  await core.database.transaction(async (client) => {
    await setFlag(client, change);
    await core.wakes.everywhere(client, "flags");
  });
}

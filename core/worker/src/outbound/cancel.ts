/** Stopping an intent that waits. */
import { FabricError } from "@linkspan/envelopes";
import { type Intent, lockIntentOf } from "@linkspan/store";
import { committed } from "../after-commit.ts";
import type { Core } from "../core.ts";
import { transition } from "./transition.ts";

/**
 * Stops an intent of which no part is being said. When a part was said already, the rest is stopped and it ends
 * `failed` with `send.incomplete`.
 *
 * @returns the intent as it stands now; its state tells whether it was stopped
 * @throws FabricError `request.not_found`
 */
export function cancelIntent(core: Core, workspaceId: string, id: string, actor: string): Promise<Intent> {
  return committed(core, async (on, after) => {
    const intent = await lockIntentOf(on, workspaceId, id);
    if (intent === undefined) {
      throw new FabricError("request.not_found", "no such intent in this workspace");
    }
    const step = { to: "cancelled", actor } as const;
    return (await transition(core, on, after, intent, "cancellation", step)) ?? intent;
  });
}

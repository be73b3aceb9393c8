/** An intent in doubt, settled by a person who looked on the platform. */
import { FabricError } from "@linkspan/envelopes";
import { type Intent, lockIntentOf } from "@linkspan/store";
import { committed } from "../after-commit.ts";
import type { Core } from "../core.ts";
import { transition } from "./transition.ts";

export interface Resolution {
  readonly workspaceId: string;
  readonly id: string;
  readonly outcome: "sent" | "failed";
  readonly actor: string;
}

/**
 * Repeating it with the same outcome changes nothing.
 *
 * @throws FabricError `request.not_found`; `request.invalid` when the intent is not uncertain
 */
export function resolveIntent(core: Core, resolution: Resolution): Promise<Intent> {
  const { workspaceId, id, outcome, actor } = resolution;
  return committed(core, async (on, after) => {
    const intent = await lockIntentOf(on, workspaceId, id);
    if (intent === undefined) {
      throw new FabricError("request.not_found", "no such intent in this workspace");
    }
    if (intent.state === outcome) return intent;
    const settled = await transition(core, on, after, intent, "resolution", {
      to: outcome,
      actor,
      detail: `settled by ${actor}`,
      audit: { resolved: true },
    });
    if (settled !== undefined) return settled;
    throw new FabricError(
      "request.invalid",
      `the intent is ${intent.state}; only an uncertain one is resolved`,
    );
  });
}

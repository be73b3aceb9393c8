/** An intent in doubt, settled by a person who looked on the platform. */
import { FabricError } from "@linkspan/envelopes";
import { audit, dequeue, type Intent, intentById, lockIntent, moveIntent } from "@linkspan/store";
import type { Core } from "../core.ts";

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
export async function resolveIntent(core: Core, resolution: Resolution): Promise<Intent> {
  const { workspaceId, id, outcome, actor } = resolution;
  const settled = await core.database.transaction(async (client) => {
    const intent = await lockIntent(client, id);
    if (intent?.workspace_id !== workspaceId) {
      throw new FabricError("request.not_found", "no such intent in this workspace");
    }
    if (intent.state === outcome) return { intent, changed: false };
    if (intent.state !== "uncertain") {
      throw new FabricError(
        "request.invalid",
        `the intent is ${intent.state}; only an uncertain one is resolved`,
      );
    }
    await moveIntent(client, id, { state: outcome, code: null, detail: `settled by ${actor}` });
    await dequeue(client, id);
    await audit(client, {
      workspaceId,
      actor,
      action: `intent.${outcome}`,
      subject: id,
      detail: { resolved: true, attempt: intent.attempt },
    });
    await core.wakes.everywhere(client, "outbox");
    return { intent: (await intentById(client, id)) ?? intent, changed: true };
  });
  if (settled.changed) core.metrics.intent(outcome, settled.intent.service);
  return settled.intent;
}

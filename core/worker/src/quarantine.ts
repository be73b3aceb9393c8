/** What people do with refused envelopes: look, retry, drop. And the dead letters that end up there too. */
import { FabricError, parseRoutingKey, routingKey } from "@linkspan/envelopes";
import { ACK, DEAD_LETTERS, type Subscription } from "@linkspan/fabric";
import { audit, quarantine, quarantined, resolveQuarantined } from "@linkspan/store";
import type { Core } from "./core.ts";

/** Dead letters become quarantine rows, so that one list shows everything that was refused. */
export async function startMorgue(core: Core): Promise<Subscription> {
  return core.bus.subscribe(DEAD_LETTERS, {
    handle: async (batch) => {
      await core.database.transaction(async (client) => {
        for (const { delivery } of batch) {
          await quarantine(client, {
            code: delivery.death?.code ?? "bus.rejected",
            detail: delivery.death?.detail ?? "no reason came with it",
            routingKey: routingKey(delivery.route),
            issuer: undefined,
            workspaceId: undefined,
            messageId: delivery.messageId,
            kid: delivery.kid,
            sig: delivery.sig,
            body: delivery.body,
          });
        }
      });
      for (const { delivery } of batch) core.metrics.quarantined(delivery.death?.code ?? "bus.rejected");
      return batch.map(() => ACK);
    },
  });
}

/**
 * Publishes a quarantined envelope again on its route, unchanged: its signature and its id still count.
 *
 * @throws FabricError `request.not_found`, `bus.*`
 */
export async function retryQuarantined(core: Core, id: string, actor: string): Promise<void> {
  const row = await open(core, id);
  await core.bus.publish({
    route: parseRoutingKey(row.routing_key),
    body: row.body,
    messageId: row.message_id ?? `quarantine-${id}`,
    ...(row.kid !== null && { kid: row.kid }),
    ...(row.sig !== null && { sig: row.sig }),
  });
  await settle(core, id, "retried", row.workspace_id, actor);
}

/** @throws FabricError `request.not_found` */
export async function dropQuarantined(core: Core, id: string, actor: string): Promise<void> {
  const row = await open(core, id);
  await settle(core, id, "dropped", row.workspace_id, actor);
}

async function open(core: Core, id: string) {
  const row = await quarantined(core.database.pool, id);
  if (row?.state !== "open") throw new FabricError("request.not_found", "no such open entry in quarantine");
  return row;
}

async function settle(
  core: Core,
  id: string,
  state: "retried" | "dropped",
  workspaceId: string | null,
  actor: string,
): Promise<void> {
  await core.database.transaction(async (client) => {
    await resolveQuarantined(client, id, state);
    await audit(client, {
      workspaceId: workspaceId ?? "_",
      actor,
      action: `quarantine.${state}`,
      subject: id,
    });
  });
}

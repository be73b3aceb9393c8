/** The queues of one instance. Core and daemons derive the names in the same way. */
import { type ActionDef, actionsOf } from "@linkspan/envelopes";
import type { QueueSpec } from "@linkspan/fabric";

/** Intents to send, one queue per partition. */
export function sendQueue(service: string, instance: string, partition: number): QueueSpec {
  return {
    name: `${service}.${instance}.p${String(partition).padStart(2, "0")}`,
    kind: "partition",
    bindings: actionsOf(service)
      .filter(isSend)
      .map(({ name: action }) => ({ service, instance, action, partition })),
  };
}

/** Acks, requests, channels, history, rosters: all of them use this one queue, whatever their partition. */
export function controlQueue(service: string, instance: string): QueueSpec {
  return {
    name: `${service}.${instance}.control`,
    kind: "partition",
    bindings: actionsOf(service)
      .filter((action) => isForDaemon(action) && !isSend(action))
      .map(({ name: action }) => ({ service, instance, action })),
  };
}

/** Messages from the core to all daemons: keys, assignments, grants. */
export function changesQueue(service: string, instance: string, bootId: string): QueueSpec {
  return {
    name: `${service}.${instance}.changed.${bootId}`,
    kind: "transient",
    bindings: [{ service: "core", action: "changed" }],
  };
}

function isForDaemon({ direction }: ActionDef): boolean {
  return direction === "to_daemon" || direction === "request";
}

function isSend(action: ActionDef): boolean {
  return action.direction === "to_daemon" && action.capability === "send";
}

/** Queue names and their bindings (contract section 1). Core and daemons compute them in the same way. */
import { actionsOf, SERVICES } from "@linkspan/envelopes";
import type { QueueSpec } from "@linkspan/fabric";

/** All reports of daemons to the core, one queue per partition. */
export function inboundQueue(partition: number): QueueSpec {
  const actions = new Set(
    SERVICES.flatMap((service) => actionsOf(service))
      .filter((action) => action.direction === "to_core")
      .map((action) => action.name),
  );
  return {
    name: `core.inbound.p${String(partition).padStart(2, "0")}`,
    kind: "partition",
    bindings: [...actions].map((action) => ({ action, partition })),
  };
}

/** Requests to the core itself: hello, resume, attempt, submit_intent. */
export const REQUESTS: QueueSpec = {
  name: "core.requests",
  kind: "shared",
  bindings: ["hello", "resume", "attempt", "submit_intent"].map((action) => ({ service: "core", action })),
};

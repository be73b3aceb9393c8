/** The queues of the scripted core. */
import { actionsOf } from "@linkspan/envelopes";
import type { QueueSpec } from "@linkspan/fabric";

/** One per partition, of what daemons of this service report. */
export function inboundQueues(service: string, partitions: number): QueueSpec[] {
  const actions = actionsOf(service).filter(({ direction, unasked }) => direction === "to_core" || unasked);
  return Array.from({ length: partitions }, (_, partition) => ({
    name: `core.inbound.p0${partition}`,
    kind: "partition",
    bindings: actions.map(({ name: action }) => ({ action, partition })),
  }));
}

const REQUESTS = [
  "hello",
  "resume",
  "attempt",
  "checkout",
  "renew",
  "release",
  "write_back",
  "load_rows",
  "commit_rows",
];

export const REQUEST_QUEUES: readonly QueueSpec[] = ["core", "vault"].map((service) => ({
  name: `${service}.requests`,
  kind: "shared",
  bindings: REQUESTS.map((action) => ({ service, action })),
}));

/** Reports the health of a held instance every 30 s and when it changes. */
import type { Health } from "@linkspan/envelopes";
import type { BusHealth } from "@linkspan/fabric";
import type { ConnectionSupervisor } from "../identity/connection-supervisor.ts";

export type HealthReport = Health;

/**
 * `ok`: every identity is connected. `down`: there are identities and none is connected, or the bus does not
 * make progress.
 */
export function healthOf(supervisors: readonly ConnectionSupervisor[], bus: BusHealth): HealthReport {
  const identities = supervisors.length;
  if (bus.state === "closed") return { status: "down", identities, detail: "the bus is closed" };
  const down = supervisors.filter((supervisor) => !supervisor.isUp).length;
  const busDetail = bus.state === "up" ? undefined : `the bus is ${bus.state}`;
  const detail = [down > 0 ? `${down} of ${identities} not connected` : undefined, busDetail]
    .filter((part) => part !== undefined)
    .join("; ");
  if (detail === "") return { status: "ok", identities };
  return { status: identities > 0 && down === identities ? "down" : "degraded", identities, detail };
}

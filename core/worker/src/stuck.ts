/**
 * Messages that fail repeatedly even when delivered alone, in all core processes together, and an operator's
 * decision to give one up. Each process writes which messages its bus reports as stuck, and reads the
 * decisions. So any API process can list them all, and the decision reaches the process that holds the
 * message.
 */
import { randomUUID } from "node:crypto";
import { FabricError, NAMESPACE_WORKSPACE } from "@linkspan/envelopes";
import {
  audit,
  forgetStuck,
  markGivenUp,
  reportStuck,
  type StuckName,
  type StuckReport,
} from "@linkspan/store";
import { sleep, systemClock } from "@linkspan/time";
import type { Core } from "./core.ts";

const LOOK_MS = 1_000;
/** Most messages that one process reports. Its bus reports further ones when these are settled. */
const MAX_REPORTED = 500;

/** Runs until aborted. Queries the database only while a message is stuck, or was stuck until just now. */
export async function runStuckReports(core: Core, signal: AbortSignal): Promise<void> {
  const worker = randomUUID();
  let reported = false;
  while (!signal.aborted) {
    try {
      const found = stuckOf(core);
      if (found.length > 0 || reported) await report(core, worker, found);
      reported = found.length > 0;
    } catch (error) {
      core.log.warn(
        { event: "stuck.not_reported", err: error },
        "stuck messages could not be reported; tried again in a second",
      );
    }
    await sleep(systemClock, LOOK_MS, signal);
  }
}

/** A message without an id cannot be named, so it is only counted in the health report. */
function stuckOf({ bus }: Core): StuckReport[] {
  const found = new Map<string, StuckReport>();
  for (const { messageId, ...rest } of bus.health().stuck ?? []) {
    if (messageId === undefined) continue;
    if (found.size < MAX_REPORTED) found.set(`${rest.queue} ${messageId}`, { ...rest, messageId });
  }
  return [...found.values()];
}

async function report(core: Core, worker: string, found: readonly StuckReport[]): Promise<void> {
  const { database, bus, namespace, log } = core;
  const decided = await reportStuck(database.pool, { namespace: namespace.name, worker }, found);
  for (const name of decided) {
    // A message that is being tried at this moment is given up in a later round, if it fails again.
    if (!bus.giveUp(name.queue, name.messageId)) continue;
    log.warn({ event: "stuck.given_up", queue: name.queue, message_id: name.messageId });
    await forgetStuck(database.pool, namespace.name, name);
  }
}

/**
 * Records that a stuck message is given up; the process that holds it moves it to the quarantine within
 * seconds.
 *
 * @throws FabricError `request.not_found`: no process reports it now
 */
export async function giveUpStuck(core: Core, name: StuckName, actor: string) {
  return core.database.transaction(async (client) => {
    const row = await markGivenUp(client, core.namespace.name, name, actor);
    if (row === undefined) {
      throw new FabricError("request.not_found", "no such message is stuck now; see GET /v1/stuck");
    }
    await audit(client, {
      workspaceId: NAMESPACE_WORKSPACE,
      actor,
      action: "stuck.given_up",
      subject: name.messageId,
      detail: { queue: name.queue, code: row.code, failures: row.failures },
    });
    return row;
  });
}

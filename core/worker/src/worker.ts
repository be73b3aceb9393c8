/**
 * The worker: one call starts everything that the core does in the background; disposing stops it cleanly
 * (stop the intake, finish work in progress, close).
 */
import type { Subscription } from "@linkspan/fabric";
import type { Core } from "./core.ts";
import { startIntake } from "./inbound/intake.ts";
import { endUnsigned } from "./inbound/unsigned-instances.ts";
import { runReleases } from "./inbound/releases.ts";
import { runSequencer } from "./inbound/sequencer.ts";
import { type PumpOptions, runPump } from "./outbound/pump.ts";
import { startDeadLetterReader } from "./quarantine.ts";
import { startRequests } from "./requests.ts";
import { runStuckReports } from "./stuck.ts";

export interface Worker extends AsyncDisposable {
  /** Settles when a background loop ends; rejects when a loop failed with an unexpected error. */
  readonly ended: Promise<void>;
}

export async function startWorker(core: Core, options: PumpOptions = {}): Promise<Worker> {
  const stop = new AbortController();
  await using begun = new AsyncDisposableStack();
  await endUnsigned(core);
  const deadLetters = begun.use(await startDeadLetterReader(core));
  const requests = begun.use(await startRequests(core));
  const intake = begun.use(await startIntake(core));
  const parts: (AsyncDisposable & Pick<Subscription, "drain">)[] = [deadLetters, requests, intake];
  begun.move();
  const loops = [
    runSequencer(core, stop.signal),
    runReleases(core, stop.signal),
    runPump(core, options, stop.signal),
    runStuckReports(core, stop.signal),
  ];
  const ended = Promise.all([...loops, intake.ended]).then(() => undefined);
  return {
    ended,
    async [Symbol.asyncDispose]() {
      await Promise.all(parts.map((part) => part.drain()));
      stop.abort();
      await ended;
      await Promise.all(parts.map((part) => part[Symbol.asyncDispose]()));
    },
  };
}

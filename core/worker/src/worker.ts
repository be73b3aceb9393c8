/**
 * The worker: one call starts everything that the core does by itself, disposing stops it cleanly
 * (stop intake, finish what is in flight, close).
 */
import type { Subscription } from "@linkspan/fabric";
import type { Core } from "./core.ts";
import { startIntake } from "./inbound/intake.ts";
import { runReleases } from "./inbound/releases.ts";
import { runSequencer } from "./inbound/sequencer.ts";
import { type PumpOptions, runPump } from "./outbound/pump.ts";
import { startDeadLetterReader } from "./quarantine.ts";
import { startRequests } from "./requests.ts";

export interface Worker extends AsyncDisposable {
  /** Settles when a background loop ends; rejects when one failed in a way nobody foresaw. */
  readonly ended: Promise<void>;
}

export async function startWorker(core: Core, options: PumpOptions = {}): Promise<Worker> {
  const stop = new AbortController();
  const parts: (AsyncDisposable & Pick<Subscription, "drain">)[] = [
    await startDeadLetterReader(core),
    await startRequests(core),
    await startIntake(core),
  ];
  const loops = [
    runSequencer(core, stop.signal),
    runReleases(core, stop.signal),
    runPump(core, options, stop.signal),
  ];
  const ended = Promise.all(loops).then(() => undefined);
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

/** Timed work of the core: every job only triggers a sweep of rows. */
import { defineJob, openJobs } from "@linkspan/jobs";
import { BoundedClient } from "@linkspan/store";
import {
  type Core,
  type Retention,
  sweepCredentials,
  sweepExpired,
  sweepMedia,
  sweepMonths,
  sweepRetention,
  sweepSessions,
} from "@linkspan/worker";
import type { Logger } from "pino";
import { z } from "zod";
import type { OpenCore } from "./core.ts";

const nothing = z.strictObject({});
const EXPIRE_INTENTS = defineJob("intents.expire", nothing);
const EXPIRE_SESSIONS = defineJob("sessions.expire", nothing);
const MAKE_MONTHS = defineJob("months.make", nothing);
const KEEP_RETENTION = defineJob("retention.keep", nothing);
const SWEEP_MEDIA = defineJob("media.sweep", nothing);
const SWEEP_VAULT = defineJob("vault.sweep", nothing);

const SECOND_MS = 1_000;
const HOUR_MS = 3_600_000;

/** @param url PostgreSQL or Redis */
export async function runJobs(
  { core, vault }: OpenCore,
  url: string,
  retention: Retention,
  log: Logger,
  stack: AsyncDisposableStack,
): Promise<void> {
  const jobs = stack.use(
    await openJobs({ url, log, queue: `linkspan-${core.namespace.name}`, postgresClient: BoundedClient }),
  );
  const stopping = new AbortController();
  const sweeps = [
    { job: EXPIRE_INTENTS, everyMs: 5 * SECOND_MS, run: () => sweepExpired(core) },
    { job: EXPIRE_SESSIONS, everyMs: 15 * SECOND_MS, run: () => sweepSessions(core) },
    { job: MAKE_MONTHS, everyMs: 60 * SECOND_MS, run: () => sweepMonths(core) },
    { job: KEEP_RETENTION, everyMs: HOUR_MS, run: () => sweepRetention(core, retention, stopping.signal) },
    { job: SWEEP_MEDIA, everyMs: HOUR_MS, run: () => sweepMedia(core, retention.days, stopping.signal) },
    { job: SWEEP_VAULT, everyMs: 60 * SECOND_MS, run: () => keepVault(core, vault) },
  ];
  for (const { job, everyMs, run } of sweeps) {
    stack.use(await jobs.work(job, async () => void (await run())));
    await jobs.repeat(job, {}, { everyMs });
  }
  // Aborted before the handlers' own timeout: deletion in batches stops between two of them.
  stack.defer(() => stopping.abort());
}

/**
 * Opens the vault again when it is sealed and its key is back; otherwise deletes what is too old, and the
 * secrets of unlinked accounts.
 */
async function keepVault(core: Core, vault: OpenCore["vault"]): Promise<void> {
  const { state } = await vault.health();
  if (state === "sealed") {
    await vault.unseal();
    return;
  }
  await vault.sweep();
  await sweepCredentials(core);
}

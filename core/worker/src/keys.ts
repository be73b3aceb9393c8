/**
 * Keys of daemons and backends: registered, revoked and replaced in one transaction with the audit entry. A
 * change is in force in every process within a second: by NOTIFY, and if that is lost, by checking the
 * table's version.
 */
import { FabricError, type KeyRecord, timestamp } from "@linkspan/envelopes";
import {
  audit,
  type Enrolment,
  keySet,
  keysVersion,
  lockKeyRecord,
  type Queryable,
  releaseLeasesOf,
  saveKeyRecord,
} from "@linkspan/store";
import type { Core } from "./core.ts";
import { tellChanged } from "./sync/changed.ts";

const LOOK_MS = 700;

/** Keeps the key ring equal to the table until aborted. The records are read only when one has changed. */
export function followKeys(core: Core, signal: AbortSignal): void {
  void follow(core, signal);
}

async function follow(core: Core, signal: AbortSignal): Promise<void> {
  let seen: number | undefined;
  let told = false;
  core.wakes.on("keys", () => (told = true), signal);
  while (!signal.aborted) {
    told = false;
    try {
      if ((await keysVersion(core.database.pool)) !== seen) seen = await reload(core);
    } catch (error) {
      core.log.warn({ event: "keys.unread", err: error }, "keys could not be read; tried again soon");
    }
    if (!told) await core.wakes.wait("keys", LOOK_MS, signal);
  }
}

/** If two run at once, the one that read the older set reads again. @returns the version that the ring has */
async function reload(core: Core): Promise<number> {
  for (;;) {
    const { version, records } = await keySet(core.database.pool);
    core.keys.replace(records);
    if ((await keysVersion(core.database.pool)) === version) return version;
  }
}

/**
 * Call it after the transaction: this process uses the new keys at once, daemons as soon as they are
 * notified.
 */
export async function announceKeys(core: Core): Promise<void> {
  await reload(core);
  tellChanged(core, { what: "keys" });
}

export interface Revocation {
  readonly kid: string;
  readonly why: string;
  readonly actor: string;
}

/**
 * Ends a key now. Envelopes that it signed before are refused as well if they arrive later, and its instance
 * is free.
 *
 * @throws FabricError `request.not_found`, `request.forbidden` for the core's own keys
 */
export async function revokeKey(core: Core, { kid, why, actor }: Revocation): Promise<KeyRecord> {
  const record = await core.database.transaction(async (client) => {
    const known = await replaceableKey(client, kid);
    if (known.revoked_at !== undefined) return known;
    const revoked = { ...known, revoked_at: timestamp(core.now()) };
    await saveKeyRecord(client, revoked);
    await releaseLeasesOf(client, kid);
    await audit(client, {
      workspaceId: "_",
      actor,
      action: `${known.issuers[0]?.split(":", 1)[0] ?? "daemon"}.key_revoked`,
      subject: kid,
      detail: { issuers: known.issuers, why },
    });
    await core.wakes.everywhere(client, "keys");
    return revoked;
  });
  await announceKeys(core);
  return record;
}

/** @throws FabricError `request.not_found`, `request.forbidden` for the core's own keys */
export async function replaceableKey(on: Queryable, kid: string): Promise<KeyRecord> {
  const record = await lockKeyRecord(on, kid);
  if (record === undefined) throw new FabricError("request.not_found", "no key has this id");
  if (record.issuers.includes("core")) {
    throw new FabricError("request.forbidden", "it is the core's own key");
  }
  return record;
}

/** Runs in the transaction that registers the new key: the replaced key ends after its grace period. */
export async function endReplacedKey(
  core: Core,
  on: Queryable,
  { replaces, grace_s }: Pick<Enrolment, "replaces" | "grace_s">,
): Promise<void> {
  const known = replaces === null ? undefined : await lockKeyRecord(on, replaces);
  if (known === undefined) return;
  const ends = timestamp(new Date(core.now().getTime() + grace_s * 1_000));
  if (ends < known.not_after) await saveKeyRecord(on, { ...known, not_after: ends });
  if (grace_s === 0) await releaseLeasesOf(on, known.kid);
}

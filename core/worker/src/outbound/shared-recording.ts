/** How one core reads and commits for those who record at the same moment. */
import { declarationsOf, identitiesById, type Identity } from "@linkspan/store";
import type { Core } from "../core.ts";
import { SharedLookup } from "../shared-lookup.ts";
import { FairGroups } from "./fair-groups.ts";
import type { Recorded, Wanted } from "./intent-request.ts";
import { recordGroup } from "./record-group.ts";
import type { Shared } from "./recording.ts";

export function sharedOf(core: Core): Shared {
  const { pool } = core.database;
  const make = (): Shared => ({
    speakers: new SharedLookup(async (ids) => byId(await identitiesById(pool, ids))),
    declarations: new SharedLookup(async (keys) => {
      const found = await declarationsOf(pool, keys.map(toInstance));
      return new Map(found.map((one) => [keyOf(one), one.declaration]));
    }),
    groups: new FairGroups((members, mode) => recordGroup(core, members, mode)),
  });
  return core.recording?.shared(make) ?? make();
}

/** What the identity's instance announced. */
export function declarationFor(
  { declarations }: Shared,
  speaker: Identity,
): Promise<Readonly<Record<string, unknown>> | undefined> {
  return declarations.find(keyOf(speaker));
}

/** @throws FabricError of this intent alone, or `store.unavailable` */
export function recordShared({ groups }: Shared, { request, intent }: Wanted): Promise<Recorded> {
  return groups.add({
    request,
    intent,
    id: intent.id,
    workspaceId: intent.workspaceId,
    lane: `${intent.identityId} ${intent.conversation ?? ""}`,
    bytes: Buffer.byteLength(JSON.stringify(intent.payload)),
  });
}

function byId(identities: readonly Identity[]): Map<string, Identity> {
  return new Map(identities.map((identity) => [identity.id, identity]));
}

function keyOf({ service, instance }: Pick<Identity, "service" | "instance">): string {
  return `${service} ${instance}`;
}

function toInstance(key: string): { service: string; instance: string } {
  const [service = "", instance = ""] = key.split(" ");
  return { service, instance };
}

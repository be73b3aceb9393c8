/**
 * What a process shares among those who record intents: reads of one moment, and groups that commit together. A
 * process has one of it for its core; without one, each intent is a group of its own.
 */
import { declarationsOf, identitiesById, type Identity } from "@linkspan/store";
import type { Core } from "../core.ts";
import { SharedLookup } from "../shared-lookup.ts";
import { FairGroups, type Grouped } from "./fair-groups.ts";
import { recordGroup, type Recorded } from "./record-group.ts";
import type { Wanted } from "./wanted.ts";

type Member = Wanted & Grouped;
type Declaration = Readonly<Record<string, unknown>>;

interface Shared {
  readonly speakers: SharedLookup<Identity>;
  readonly declarations: SharedLookup<Declaration>;
  readonly groups: FairGroups<Member, Recorded>;
}

export class Recording {
  #shared: Shared | undefined;

  /** The identity as it is now. */
  speaker(core: Core, id: string): Promise<Identity | undefined> {
    return this.#of(core).speakers.find(id);
  }

  /** What the identity's instance announced. */
  declaration(core: Core, { service, instance }: Identity): Promise<Declaration | undefined> {
    return this.#of(core).declarations.find(`${service} ${instance}`);
  }

  /** @throws FabricError of this intent alone, or `store.unavailable` */
  record(core: Core, { request, intent }: Wanted): Promise<Recorded> {
    return this.#of(core).groups.add({
      request,
      intent,
      id: intent.id,
      workspaceId: intent.workspaceId,
      lane: `${intent.identityId} ${intent.conversation ?? ""}`,
      bytes: Buffer.byteLength(JSON.stringify(intent.payload)),
    });
  }

  /** Made for the first core that asks, and used for that one only. */
  #of(core: Core): Shared {
    const { pool } = core.database;
    this.#shared ??= {
      speakers: new SharedLookup(async (ids) => byId(await identitiesById(pool, ids))),
      declarations: new SharedLookup(async (keys) => {
        const found = await declarationsOf(pool, keys.map(toInstance));
        return new Map(found.map((one) => [`${one.service} ${one.instance}`, one.declaration]));
      }),
      groups: new FairGroups((members, mode) => recordGroup(core, members, mode)),
    };
    return this.#shared;
  }
}

function byId(identities: readonly Identity[]): Map<string, Identity> {
  return new Map(identities.map((identity) => [identity.id, identity]));
}

function toInstance(key: string): { service: string; instance: string } {
  const [service = "", instance = ""] = key.split(" ");
  return { service, instance };
}

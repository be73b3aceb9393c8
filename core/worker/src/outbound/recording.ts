/**
 * What a process shares among those who record intents: reads of one moment, and groups that commit together. A
 * process has one of it for its core; without one, each intent is a group of its own.
 */
import type { Identity } from "@linkspan/store";
import type { SharedLookup } from "../shared-lookup.ts";
import type { FairGroups, Grouped } from "./fair-groups.ts";
import type { Recorded, Wanted } from "./intent-request.ts";

export interface Shared {
  /** By id, as they are now. */
  readonly speakers: SharedLookup<Identity>;
  /** What instances announced, by service and instance with a space between. */
  readonly declarations: SharedLookup<Readonly<Record<string, unknown>>>;
  readonly groups: FairGroups<Wanted & Grouped, Recorded>;
}

export class Recording {
  #shared: Shared | undefined;

  /** @param make called for the first core that asks; what it makes is used for that one only */
  shared(make: () => Shared): Shared {
    this.#shared ??= make();
    return this.#shared;
  }
}

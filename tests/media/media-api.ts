/** What the suites of media over HTTP share: limits that are out of their way, clients and what is stored. */
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import type { ApiWorld } from "../api/api-world.ts";
import { MediaClient } from "./media-client.ts";

export const MIB = 1_048_576;
const wide = { perSecond: 1e6, burst: 1e6 };
export const limits = {
  perToken: wide,
  perWorkspace: wide,
  anonymous: wide,
  mistakes: wide,
  transfersPerWorkspace: 60,
};

/** @param api whose world is there once the suite has begun */
export function mediaOf(api: { readonly world: ApiWorld }) {
  const objects = () => join(api.world.directory, "media/objects");
  return {
    clientOf: async (workspace: string) =>
      new MediaClient(api.world.api.url, await api.world.token(`of-${workspace}`, "backend", workspace)),
    rowsOf: async (workspace: string) => {
      const { rows } = await api.world.core.database.query<{ object: string; state: string }>(
        "SELECT object, state FROM media WHERE workspace_id = $1 ORDER BY created_at",
        [workspace],
      );
      return rows;
    },
    files: async () => (await readdir(objects(), { recursive: true })).filter((name) => name.includes("/")),
    pathOf: (object: string) => join(objects(), object.slice(0, 2), object),
  };
}

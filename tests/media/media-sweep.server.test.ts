/** What of media is deleted by time, and what is not. */
import { randomBytes } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { DirectoryMediaStore, newObject } from "@linkspan/media";
import { beginMedia, dropMedia, mediaUsage } from "@linkspan/store";
import { sweepMedia } from "@linkspan/worker";
import { beforeAll, expect, test } from "vitest";
import { type ApiWorld, describeApi } from "../api/api-world.ts";
import { limits, mediaOf } from "./media-api.ts";

const HOUR_MS = 3_600_000;

describeApi("sweep of media", { limits }, (api) => {
  const { clientOf, rowsOf, files } = mediaOf(api);
  let world: ApiWorld;

  beforeAll(() => {
    world = api.world;
  });

  test("what is older than the retention is deleted, row and object, and what processes left at any step", async () => {
    const { pool } = world.core.database;
    const client = await clientOf("old");
    const [old, young] = [await client.upload(randomBytes(10)), await client.upload(randomBytes(20))];
    await world.core.database.query(
      "UPDATE media SET used_at = now() - interval '31 days' WHERE workspace_id = $1 AND bytes = 10",
      ["old"],
    );
    const { store } = world.core.media ?? {};
    if (!(store instanceof DirectoryMediaStore)) throw new Error("the world has no directory");
    // Killed before the object was whole, after it was, after it was marked, and after it was deleted.
    const left = ["begun", "written", "marked", "gone"].map((step) => ({ step, object: newObject() }));
    for (const { step, object } of left) {
      await beginMedia(pool, { object, workspaceId: "old", keyVersion: 1 });
      if (step === "written" || step === "marked") {
        await store.put(
          object,
          (async function* () {
            yield randomBytes(26);
          })(),
        );
      }
      if (step === "marked" || step === "gone") await dropMedia(pool, object);
    }
    await writeFile(join(world.directory, "media/unfinished", newObject()), "half");
    expect(await sweepMedia(world.core, 30)).toBe(3);
    expect((await client.get(`/v1/media/${old.body.sha256}`)).status).toBe(404);
    expect((await client.get(`/v1/media/${young.body.sha256}`)).status).toBe(200);
    expect(await mediaUsage(pool, "old")).toEqual({ bytes: 20, objects: 1 });
    await world.core.database.query(
      "UPDATE media SET used_at = now() - interval '2 hours' WHERE workspace_id = $1 AND state = 'writing'",
      ["old"],
    );
    expect(await sweepMedia(world.core, 30)).toBe(2);
    expect((await rowsOf("old")).map(({ state }) => state)).toEqual(["stored"]);
    const known = new Set(
      (await world.core.database.query<{ object: string }>("SELECT object FROM media")).rows.map(
        ({ object }) => object,
      ),
    );
    expect(
      (await files()).map((name) => name.split("/").at(-1)).filter((name) => !known.has(name ?? "")),
    ).toEqual([]);
  });

  test("a clock that is ahead deletes nothing", async () => {
    const client = await clientOf("clock");
    const { body } = await client.upload(randomBytes(10));
    const ahead = { ...world.core, now: () => new Date(Date.now() + 900 * 24 * HOUR_MS) };
    await sweepMedia(ahead, 30);
    expect((await client.get(`/v1/media/${body.sha256}`)).status).toBe(200);
  });
});

/** Limits of media: sizes, quotas, how many at once, how slow, and the end of the API. */
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { readdir } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";
import { mediaUsage } from "@linkspan/store";
import { beforeAll, expect, test } from "vitest";
import { type ApiWorld, describeApi } from "../api/api-world.ts";
import { until } from "../servers/until.ts";
import { limits, mediaOf, MIB } from "./media-api.ts";
import { MediaClient } from "./media-client.ts";

describeApi("limits of media", { limits }, (api) => {
  const { clientOf, rowsOf } = mediaOf(api);
  let world: ApiWorld;

  beforeAll(() => {
    world = api.world;
  });

  test("a file or a workspace that is too large is refused and leaves nothing", async () => {
    const client = await clientOf("large");
    const large = await client.upload(Buffer.alloc(4 * MIB + 1));
    expect([large.status, large.body.code]).toEqual([413, "media.too_large"]);
    const endless = async function* () {
      for (let sent = 0; sent < 5; sent += 1) yield randomBytes(MIB);
    };
    const unannounced = await client.upload(endless(), { headers: { "transfer-encoding": "chunked" } });
    expect(unannounced.body.code).toBe("media.too_large");
    expect(await rowsOf("large")).toEqual([]);
  });

  test("of 50 uploads at once, exactly as many are kept as the quota has room for", async () => {
    const client = await clientOf("full");
    const answers = await Promise.all(Array.from({ length: 50 }, () => client.upload(randomBytes(2 * MIB))));
    const byStatus = Map.groupBy(answers, ({ status }) => status);
    expect(Object.fromEntries([...byStatus].map(([status, { length }]) => [status, length]))).toEqual({
      200: 32,
      507: 18,
    });
    expect(byStatus.get(507)?.map(({ body }) => body.code)).toEqual(
      Array.from({ length: 18 }, () => "media.quota_exceeded"),
    );
    expect(await mediaUsage(world.core.database.pool, "full")).toEqual({ bytes: 64 * MIB, objects: 32 });
    expect((await rowsOf("full")).filter(({ state }) => state === "stored")).toHaveLength(32);
    const [one] = byStatus.get(200) ?? [];
    const again = await client.get(`/v1/media/${one?.body.sha256}`);
    expect((await client.upload(again.body)).status).toBe(200);
  });

  test("the same bytes 20 times at once are stored once", async () => {
    const client = await clientOf("twins");
    const bytes = randomBytes(MIB);
    const answers = await Promise.all(Array.from({ length: 20 }, () => client.upload(bytes)));
    expect(new Set(answers.map(({ body }) => JSON.stringify(body))).size).toBe(1);
    expect(await mediaUsage(world.core.database.pool, "twins")).toEqual({ bytes: MIB, objects: 1 });
    expect(await rowsOf("twins")).toHaveLength(1);
  });

  test("an upload that ends early or stands still leaves nothing", async () => {
    await using strict = await api.start({ limits: { ...limits, stallMs: 400 } });
    const token = await strict.token("early", "backend", "early");
    const { hostname, port } = new URL(strict.api.url);
    const rows = async () => (await strict.core.database.query("SELECT FROM media")).rows.length;
    const begin = async () => {
      const socket = connect(Number(port), hostname);
      socket.on("error", () => undefined);
      const head = [
        "POST /v1/media HTTP/1.1",
        "host: x",
        `authorization: Bearer ${token}`,
        "content-length: 1000000",
      ];
      socket.write(`${head.join("\r\n")}\r\n\r\n`);
      socket.write(randomBytes(1_000));
      await until(async () => (await rows()) === 1, { what: "the upload to begin" });
      return socket;
    };
    (await begin()).destroy();
    await until(async () => (await rows()) === 0, { what: "the upload to be removed" });
    const still = await begin();
    let text = "";
    still.on("data", (chunk: Buffer) => (text += chunk.toString("latin1")));
    await once(still, "close");
    expect(text).toMatch(/^HTTP\/1.1 408 /);
    await until(async () => (await rows()) === 0, { what: "the upload to be removed" });
    expect(await readdir(join(strict.directory, "media/unfinished"))).toEqual([]);
  });

  test("more transfers at once than a workspace may have are told to wait, and do not hinder another one", async () => {
    await using narrow = await api.start({ limits: { ...limits, transfersPerWorkspace: 1 } });
    const client = new MediaClient(narrow.api.url, await narrow.token("a", "backend", "acme"));
    const other = new MediaClient(narrow.api.url, await narrow.token("r", "backend", "rival"));
    const gate = Promise.withResolvers<void>();
    const slow = async function* () {
      yield randomBytes(100_000);
      await gate.promise;
      yield randomBytes(1);
    };
    const first = client.upload(slow());
    const begun = async () => (await narrow.core.database.query("SELECT FROM media")).rows.length > 0;
    await until(begun, { what: "the upload to begin" });
    const second = await client.upload(randomBytes(10));
    expect([second.status, second.body.code]).toEqual([429, "request.rate_limited"]);
    expect((await other.upload(randomBytes(10))).status).toBe(200);
    gate.resolve();
    expect((await first).status).toBe(200);
  });

  test("an API that stops cuts transfers off and keeps nothing of them", async () => {
    await using ending = await api.start({ limits });
    const client = new MediaClient(ending.api.url, await ending.token("a", "backend", "acme"));
    const gate = Promise.withResolvers<void>();
    const halted = async function* () {
      yield randomBytes(100_000);
      await gate.promise;
    };
    const upload = client.upload(halted()).catch((error: unknown) => error);
    const rows = async () => (await ending.core.database.query("SELECT FROM media")).rows.length;
    await until(async () => (await rows()) === 1, { what: "the upload to begin" });
    await ending.api[Symbol.asyncDispose]();
    gate.resolve();
    expect(await upload).toBeInstanceOf(Error);
    await until(async () => (await rows()) === 0, { what: "the upload to be removed" });
  });
});

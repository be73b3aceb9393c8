/** Media over HTTP, given back: a real database, a real vault, objects in a directory. */
import { createHash, randomBytes } from "node:crypto";
import { readFile, truncate, writeFile } from "node:fs/promises";
import { CHUNK_BYTES } from "@linkspan/media";
import { mediaUsage } from "@linkspan/store";
import { beforeAll, expect, test } from "vitest";
import { type ApiWorld, describeApi } from "../api/api-world.ts";
import { until } from "../servers/until.ts";
import { limits, mediaOf, MIB } from "./media-api.ts";
import { MediaClient } from "./media-client.ts";

describeApi("media", { limits }, (api) => {
  const { clientOf, rowsOf, files, pathOf } = mediaOf(api);
  let acme: MediaClient;
  let rival: MediaClient;
  let nobody: MediaClient;
  let world: ApiWorld;

  beforeAll(async () => {
    world = api.world;
    const { url } = world.api;
    acme = new MediaClient(url, await world.token("acme", "backend", "acme"));
    rival = new MediaClient(url, await world.token("rival", "backend", "rival"));
    nobody = new MediaClient(url);
  });

  test("what is uploaded is what is downloaded, whole and by its headers", async () => {
    const bytes = randomBytes(3 * CHUNK_BYTES + 5);
    const sha256 = createHash("sha256").update(bytes).digest("hex");
    const stored = await acme.upload(bytes, { name: "../x/photo.bin" });
    expect(stored.status).toBe(200);
    expect(stored.body).toEqual({
      url: `media://${sha256}`,
      sha256,
      bytes: bytes.byteLength,
      mime: "application/octet-stream",
      name: "photo.bin",
    });
    const whole = await acme.get(`/v1/media/${sha256}`);
    expect(whole.status).toBe(200);
    expect(whole.body.equals(bytes)).toBe(true);
    expect(whole.headers).toMatchObject({
      "content-type": "application/octet-stream",
      "content-length": String(bytes.byteLength),
      "content-disposition": "attachment; filename=photo.bin",
      "x-content-type-options": "nosniff",
      "content-security-policy": "sandbox; default-src 'none'",
      "cross-origin-resource-policy": "same-origin",
      "cache-control": "private, no-cache",
      "accept-ranges": "bytes",
      etag: `"${sha256}"`,
    });
    const head = await acme.head(`/v1/media/${sha256}`);
    expect(head.status).toBe(200);
    expect(head.headers["content-length"]).toBe(String(bytes.byteLength));
    expect((await acme.get(`/v1/media/${sha256}`, { "if-none-match": `"${sha256}"` })).status).toBe(304);
    expect(await world.trail(sha256)).toContain("media.stored");
  });

  test("an empty file is media, too", async () => {
    const { body } = await acme.upload(Buffer.alloc(0));
    expect(body).toMatchObject({ bytes: 0, name: "file", mime: "application/octet-stream" });
    const whole = await acme.get(`/v1/media/${body.sha256}`);
    expect([whole.status, whole.body.byteLength]).toEqual([200, 0]);
    expect((await acme.get(`/v1/media/${body.sha256}`, { range: "bytes=0-0" })).status).toBe(416);
  });

  test("the same bytes again are the same media and cost nothing; of another workspace they are others", async () => {
    const [one, two] = [await clientOf("same-1"), await clientOf("same-2")];
    const bytes = randomBytes(1_000);
    const first = await one.upload(bytes, { name: "a" });
    expect((await one.upload(bytes, { name: "b" })).body).toEqual(first.body);
    expect(await mediaUsage(world.core.database.pool, "same-1")).toEqual({ bytes: 1_000, objects: 1 });
    expect((await two.upload(bytes, { name: "c" })).body).toEqual({ ...first.body, name: "c" });
    const objects = [...(await rowsOf("same-1")), ...(await rowsOf("same-2"))];
    expect(objects.map(({ state }) => state)).toEqual(["stored", "stored"]);
    const [a, b] = await Promise.all(objects.map(({ object }) => readFile(pathOf(object))));
    expect(a?.equals(b ?? Buffer.alloc(0))).toBe(false);
    expect(a?.includes(bytes.subarray(0, 16))).toBe(false);
    expect((await files()).join()).not.toContain(first.body.sha256);
  });

  test.each([
    ["bytes=0-0", 206, [0, 0]],
    ["bytes=65535-65536", 206, [65_535, 65_536]],
    ["bytes=100000-", 206, [100_000, 199_999]],
    ["bytes=-5", 206, [199_995, 199_999]],
    ["bytes=-999999", 206, [0, 199_999]],
    ["bytes=199999-300000", 206, [199_999, 199_999]],
    ["bytes=200000-", 416, undefined],
    ["bytes=-0", 416, undefined],
    ["bytes=5-1", 200, [0, 199_999]],
    ["bytes=a-b", 200, [0, 199_999]],
    ["lines=0-1", 200, [0, 199_999]],
    ["bytes=0-1,5-6", 200, [0, 199_999]],
    ["bytes=9999999999999999999999-", 416, undefined],
  ] as const)("the range %s is answered %i", async (range, status, expected) => {
    const bytes = Buffer.alloc(200_000, createHash("sha512").update("ranges").digest());
    const { body } = await acme.upload(bytes);
    const answer = await acme.get(`/v1/media/${body.sha256}`, { range });
    expect(answer.status).toBe(status);
    if (expected === undefined) {
      expect(answer.headers["content-range"]).toBe("bytes */200000");
      return;
    }
    const [from, to] = expected;
    expect(answer.body.equals(bytes.subarray(from, to + 1))).toBe(true);
    expect(answer.headers["content-range"]).toBe(status === 206 ? `bytes ${from}-${to}/200000` : undefined);
  });

  test("a range is only given of the version that the reader has", async () => {
    const { body } = await acme.upload(randomBytes(100));
    const ask = (condition: string) =>
      acme.get(`/v1/media/${body.sha256}`, { range: "bytes=0-9", "if-range": condition });
    expect((await ask(`"${body.sha256}"`)).status).toBe(206);
    expect((await ask('"another"')).status).toBe(200);
  });

  test.each([
    [
      "an SVG with a script",
      "image/svg+xml",
      "<svg xmlns='http://www.w3.org/2000/svg'><script>1</script></svg>",
      "text/plain; charset=utf-8",
      "attachment",
    ],
    [
      "HTML that is called a picture",
      "image/png",
      "<!doctype html><script>alert(1)</script>",
      "text/plain; charset=utf-8",
      "attachment",
    ],
    ["XML", "image/png", "<?xml version='1.0'?><a/>", "application/xml", "attachment"],
    [
      "a picture that is called HTML",
      "text/html",
      Buffer.from("89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c489", "hex"),
      "image/png",
      "inline",
    ],
  ])("%s is served as what it is", async (_what, claimed, bytes, mime, how) => {
    const { body } = await acme.upload(Buffer.from(bytes), {
      name: "a.html",
      headers: { "content-type": claimed },
    });
    expect(body.mime).toBe(mime);
    const { headers } = await acme.get(`/v1/media/${body.sha256}`);
    expect(headers["content-type"]).toBe(mime);
    expect(headers["content-disposition"]).toBe(`${how}; filename=a.html`);
    expect(headers["x-content-type-options"]).toBe("nosniff");
  });

  test("a name comes from a header as well, and is sent back in a form that every client reads", async () => {
    const { body } = await acme.upload(randomBytes(9), {
      headers: { "content-disposition": "attachment; filename*=UTF-8''..%2FGr%C3%BC%C3%9Fe.txt" },
    });
    expect(body.name).toBe("Grüße.txt");
    const { headers } = await acme.head(`/v1/media/${body.sha256}`);
    expect(headers["content-disposition"]).toContain("filename*=UTF-8''Gr%C3%BC%C3%9Fe.txt");
  });

  test("media of another workspace is answered exactly as media that nobody has", async () => {
    const { body } = await acme.upload(randomBytes(100));
    const ask = (client: MediaClient, sha256: string, headers: Record<string, string> = {}) =>
      client.get(`/v1/media/${sha256}`, { "x-request-id": "same", ...headers });
    for (const headers of [{}, { range: "bytes=0-1" }, { "if-none-match": `"${body.sha256}"` }]) {
      const [others, unknown] = [
        await ask(rival, body.sha256, headers),
        await ask(rival, "0".repeat(64), headers),
      ];
      expect(others.status).toBe(404);
      expect(others.body.toString()).toBe(unknown.body.toString());
      const { date: _at, ...rest } = others.headers;
      const { date: _then, ...expected } = unknown.headers;
      expect(rest).toEqual(expected);
    }
    const links = await Promise.all(
      [body.sha256, "0".repeat(64)].map((sha256) => rival.post(`/v1/media/${sha256}/links`, {})),
    );
    expect(links.map(({ status }) => status)).toEqual([404, 404]);
    expect((await rival.head(`/v1/media/${body.sha256}`)).status).toBe(404);
    expect((await nobody.get(`/v1/media/${body.sha256}`)).status).toBe(401);
  });

  test("a link gives one workspace's media without a token until it expires, and nothing else", async () => {
    const bytes = randomBytes(70_000);
    const { body } = await acme.upload(bytes, { name: "a.bin" });
    const made = await acme.post<{ url: string; expires_at: string }>(`/v1/media/${body.sha256}/links`, {
      expires_in_s: 60,
    });
    expect(made.status).toBe(201);
    const { url } = made.body;
    const got = await nobody.get(url);
    expect(got.body.equals(bytes)).toBe(true);
    expect(got.headers).toMatchObject({
      "cross-origin-resource-policy": "cross-origin",
      "referrer-policy": "no-referrer",
      "content-security-policy": "sandbox; default-src 'none'",
    });
    expect((await nobody.get(url, { range: "bytes=1-2" })).body.equals(bytes.subarray(1, 3))).toBe(true);
    expect((await nobody.head(url)).status).toBe(200);
    const link = url.slice(url.lastIndexOf("/") + 1);
    const [expiry = "", version = "", workspace = "", sha256 = "", mac = ""] = link.split(".");
    const other = await rival.upload(bytes);
    expect(other.body.sha256).toBe(sha256);
    const forged = [
      [String(Number(expiry) + 1), version, workspace, sha256, mac],
      [expiry, String(Number(version) + 1), workspace, sha256, mac],
      [expiry, version, "rival", sha256, mac],
      [expiry, version, workspace, "0".repeat(64), mac],
      [expiry, version, workspace, sha256, `${mac.slice(0, -1)}${mac.endsWith("A") ? "B" : "A"}`],
      [expiry, version, workspace, sha256, ""],
      [expiry, version, workspace, sha256],
    ];
    for (const parts of forged) {
      expect((await nobody.get(`/v1/media/links/${parts.join(".")}`)).status, parts.join(".")).toBe(404);
    }
    const short = await acme.post<{ url: string }>(`/v1/media/${sha256}/links`, { expires_in_s: 1 });
    await until(async () => (await nobody.get(short.body.url)).status === 404, {
      what: "the link to expire",
    });
    expect((await acme.post(`/v1/media/${sha256}/links`, { expires_in_s: 86_401 })).status).toBe(400);
  });

  test("an object that was changed or cut is never served as good", async () => {
    const client = await clientOf("tampered");
    const bytes = randomBytes(3 * MIB);
    const { body } = await client.upload(bytes);
    const [row] = await rowsOf("tampered");
    const path = pathOf(row?.object ?? "");
    const good = await readFile(path);
    const changed = async (at: number) => {
      const copy = Buffer.from(good);
      copy[at] = (copy[at] as number) ^ 1;
      await writeFile(path, copy);
    };
    await changed(10);
    const refused = await client.get(`/v1/media/${body.sha256}`);
    expect(refused.status).toBe(500);
    expect(JSON.parse(refused.body.toString())).toMatchObject({ code: "media.damaged" });
    expect(refused.headers["content-type"]).toMatch(/^application\/problem\+json/);
    for (const name of ["etag", "content-disposition"]) expect(refused.headers[name]).toBeUndefined();
    await changed(good.byteLength - 1);
    await expect(client.get(`/v1/media/${body.sha256}`)).rejects.toThrow();
    expect((await client.get(`/v1/media/${body.sha256}`, { range: "bytes=0-9" })).status).toBe(206);
    await writeFile(path, good);
    await truncate(path, good.byteLength - 1);
    await expect(client.get(`/v1/media/${body.sha256}`)).rejects.toThrow();
    // A cut is seen by its length: the next upload of these bytes replaces the object.
    expect((await client.upload(bytes)).status).toBe(200);
    expect((await client.get(`/v1/media/${body.sha256}`)).body.equals(bytes)).toBe(true);
    expect(await mediaUsage(world.core.database.pool, "tampered")).toEqual({ bytes: 3 * MIB, objects: 1 });
  });

  test("media of a workspace whose key was shredded cannot be read, and can be uploaded again", async () => {
    const client = await clientOf("shredded");
    const bytes = randomBytes(100);
    const { body } = await client.upload(bytes);
    await world.core.vault.shredWorkspace("shredded");
    expect((await client.get(`/v1/media/${body.sha256}`)).status).toBe(404);
    expect((await client.upload(bytes)).status).toBe(200);
    expect((await client.get(`/v1/media/${body.sha256}`)).body.equals(bytes)).toBe(true);
  });

  test("only those who speak for a workspace may upload and read", async () => {
    for (const role of ["operator", "auditor"] as const) {
      const client = new MediaClient(world.api.url, await world.token(role, role, "acme"));
      const { status } = await client.upload(randomBytes(1));
      expect(status).toBe(403);
      expect((await client.get(`/v1/media/${"0".repeat(64)}`)).status).toBe(403);
    }
  });
});

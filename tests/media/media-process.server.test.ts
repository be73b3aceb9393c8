/** Large media through `linkspan up`: the memory of the process, and a kill in the middle. */
import { createHash } from "node:crypto";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Env, place, Up } from "../compose/linkspan.ts";
import { treeOf } from "../servers/process-tree.ts";
import { until } from "../servers/until.ts";
import { MediaClient } from "./media-client.ts";

const MIB = 1_048_576;
/** `LINKSPAN_TEST_MEDIA_MIB=1024` for the largest that the default settings take. */
const SIZE = Number(process.env["LINKSPAN_TEST_MEDIA_MIB"] ?? 256) * MIB;
const MAX_GROWTH_MIB = 50;

describe("large media in a process of its own", () => {
  let stack: AsyncDisposableStack;
  let data: string;
  let env: Env;
  let up: Up;

  beforeAll(async () => {
    stack = new AsyncDisposableStack();
    const where = stack.use(await place());
    data = where.data;
    env = { ...where.env, LINKSPAN_ROLES: "core,api" };
    up = stack.use(await Up.start(env));
  });
  afterAll(() => stack?.disposeAsync());

  const client = () => new MediaClient(up.url, readFileSync(join(data, "owner.token"), "utf8").trim());

  test(`${SIZE / MIB} MiB go in and out, and the process grows by less than ${MAX_GROWTH_MIB} MiB`, async () => {
    // Once before, so that code is compiled and buffers are allocated.
    await client().digest(`/v1/media/${(await client().upload(bytesOf(64 * MIB, 1))).body.sha256}`);
    const before = residentMib(up);
    let peak = before;
    const watched = setInterval(() => (peak = Math.max(peak, residentMib(up))), 20);
    const begun = performance.now();
    const { status, body } = await client().upload(bytesOf(SIZE, 2));
    const stored = performance.now();
    const digest = await client().digest(`/v1/media/${body.sha256}`);
    const read = performance.now();
    clearInterval(watched);
    const rate = (ms: number) => `${Math.round(SIZE / MIB / (ms / 1_000))} MiB/s`;
    process.stderr.write(
      `media: ${SIZE / MIB} MiB in at ${rate(stored - begun)}, out at ${rate(read - stored)}; ` +
        `memory ${Math.round(before)} MiB before, ${Math.round(peak)} MiB at most\n`,
    );
    expect(status).toBe(200);
    expect(digest).toEqual({ sha256: await hashOf(bytesOf(SIZE, 2)), bytes: SIZE });
    expect(digest.sha256).toBe(body.sha256);
    expect(before).toBeGreaterThan(50); // it is a Node process that is measured
    expect(peak - before).toBeLessThan(MAX_GROWTH_MIB);
  }, 600_000);

  test("of an upload that a kill interrupts nothing is served, and the same upload succeeds afterwards", async () => {
    const size = 32 * MIB;
    const sha256 = await hashOf(bytesOf(size, 3));
    const gate = Promise.withResolvers<void>();
    const halted = async function* () {
      let sent = 0;
      for await (const piece of bytesOf(size, 3)) {
        if ((sent += piece.byteLength) === size) await gate.promise;
        yield piece;
      }
    };
    const interrupted = client()
      .upload(halted())
      .catch((error: unknown) => error);
    await until(() => unfinished(data).some((bytes) => bytes > size / 2), { what: "half of the object" });
    expect((await client().get(`/v1/media/${sha256}`)).status).toBe(404);
    await up.end("SIGKILL");
    gate.resolve();
    expect(await interrupted).toBeInstanceOf(Error);
    up = stack.use(await Up.start(env));
    expect((await client().get(`/v1/media/${sha256}`)).status).toBe(404);
    const again = await client().upload(bytesOf(size, 3));
    expect([again.status, again.body.sha256]).toEqual([200, sha256]);
    expect(await client().digest(`/v1/media/${sha256}`)).toEqual({ sha256, bytes: size });
  }, 120_000);
});

/** Bytes that differ from piece to piece and are the same each time. */
async function* bytesOf(size: number, seed: number): AsyncGenerator<Uint8Array> {
  const piece = Buffer.alloc(MIB, createHash("sha512").update(String(seed)).digest());
  for (let sent = 0; sent < size; sent += MIB) {
    const copy = Buffer.from(piece);
    copy.writeBigUInt64BE(BigInt(sent), 0);
    yield copy;
  }
}

async function hashOf(source: AsyncIterable<Uint8Array>): Promise<string> {
  const hash = createHash("sha256");
  for await (const piece of source) hash.update(piece);
  return hash.digest("hex");
}

/** Of the largest process that is not of the database, MiB: the one that serves HTTP. */
function residentMib({ pid }: Up): number {
  const kib = treeOf(pid).map((one) => {
    const status = readFileSync(`/proc/${one}/status`, "latin1");
    if (/^Name:\s+postgres$/m.test(status)) return 0;
    return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1] ?? 0);
  });
  return Math.max(...kib) / 1_024;
}

/** Bytes of the objects that are being written. */
function unfinished(data: string): number[] {
  const directory = join(data, "media/unfinished");
  return readdirSync(directory).map((name) => statSync(join(directory, name)).size);
}

/** The S3 driver on a service that others wrote. */
import { randomBytes } from "node:crypto";
import {
  CreateMultipartUploadCommand,
  ListMultipartUploadsCommand,
  S3Client,
  UploadPartCommand,
} from "@aws-sdk/client-s3";
import { newObject } from "@linkspan/media";
import { mediaStoreCases } from "@linkspan/media/contract";
import { S3MediaStore } from "@linkspan/media/s3";
import { afterAll, beforeAll, expect, test } from "vitest";
import { describeWithServers } from "../servers/available.ts";
import { type MotoServer, startMoto } from "../servers/moto.ts";

const BUCKET = "media";
const PREFIX = "linkspan/";
const MIB = 1_048_576;

describeWithServers(["moto"], "media in a bucket", () => {
  let moto: MotoServer;
  let store: S3MediaStore;
  let client: S3Client;

  beforeAll(async () => {
    moto = await startMoto();
    await moto.createBucket(BUCKET);
    const access = {
      region: "us-east-1",
      endpoint: moto.url,
      credentials: { accessKeyId: "key", secretAccessKey: "secret" },
    };
    store = new S3MediaStore({ ...access, bucket: BUCKET, prefix: PREFIX, pathStyle: true });
    client = new S3Client({ ...access, forcePathStyle: true });
  });
  afterAll(async () => {
    client?.destroy();
    await store?.[Symbol.asyncDispose]();
    await moto?.[Symbol.asyncDispose]();
  });

  test.each(mediaStoreCases)("a bucket $name", (one) => one.run(store));

  async function unfinished(): Promise<number> {
    const { Uploads = [] } = await client.send(new ListMultipartUploadsCommand({ Bucket: BUCKET }));
    return Uploads.length;
  }

  test("what a process left when it was killed is swept once it is old, under the own prefix only", async () => {
    for (const Key of [PREFIX + newObject(), `other/${newObject()}`]) {
      const { UploadId } = await client.send(new CreateMultipartUploadCommand({ Bucket: BUCKET, Key }));
      const part = { Bucket: BUCKET, Key, UploadId, PartNumber: 1, Body: randomBytes(5 * MIB) };
      await client.send(new UploadPartCommand(part));
    }
    // moto says of every upload that it began in November 2010.
    expect(await store.sweep(new Date("2010-01-01T00:00:00.000Z"))).toBe(0);
    expect(await unfinished()).toBe(2);
    expect(await store.sweep(new Date())).toBe(1);
    expect(await unfinished()).toBe(1);
  });

  test("an object that was cut is damaged, and so is a bucket that is missing or a service that is away", async () => {
    const object = newObject();
    await store.put(
      object,
      (async function* () {
        yield randomBytes(10);
      })(),
    );
    const all = async (reading: AsyncIterable<Uint8Array>) => {
      for await (const piece of reading) expect(piece.byteLength).toBeGreaterThan(0);
    };
    await expect(all(store.read(object, 10, 20))).rejects.toMatchObject({ code: "media.damaged" });
    const options = {
      region: "us-east-1",
      bucket: "missing",
      prefix: "",
      pathStyle: true,
      credentials: { accessKeyId: "key", secretAccessKey: "secret" },
    };
    await using missing = new S3MediaStore({ ...options, endpoint: moto.url });
    await expect(missing.check()).rejects.toMatchObject({ code: "media.unavailable" });
    await using away = new S3MediaStore({ ...options, endpoint: "http://127.0.0.1:1" });
    await expect(away.check()).rejects.toMatchObject({ code: "media.unavailable" });
    await expect(away.size(object)).rejects.toMatchObject({ code: "media.unavailable" });
  });
});

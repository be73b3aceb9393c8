/**
 * Media in a bucket of an S3 service. Large objects are uploaded in parts, one after the other; they are there once all
 * parts are.
 */
import { Readable } from "node:stream";
import {
  AbortMultipartUploadCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  HeadBucketCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  NoSuchKey,
  NotFound,
  S3Client,
  S3ServiceException,
} from "@aws-sdk/client-s3";
import { Upload } from "@aws-sdk/lib-storage";
import { FabricError } from "@linkspan/envelopes";
import { Semaphore } from "@linkspan/time";
import type { MediaStore } from "./media-store.ts";

export interface S3Options {
  readonly bucket: string;
  /** Before each object's name, such as `linkspan/`. */
  readonly prefix: string;
  readonly region: string;
  /** Of a service that is not Amazon's. */
  readonly endpoint?: string;
  /** Whether the bucket is named in the path and not in the host name. */
  readonly pathStyle: boolean;
  /** Default: the environment's, as the SDK finds them. */
  readonly credentials?: { readonly accessKeyId: string; readonly secretAccessKey: string };
}

/** With 10,000 parts at most, an object has up to 78 GiB. A put holds about two parts in memory. */
const PART_BYTES = 8 * 1_048_576;
/** Puts that hold parts at the same time; the others wait, and with them those who send. */
const PUTS_AT_ONCE = 16;
const CONNECT_MS = 5_000;
const ANSWER_MS = 60_000;

export class S3MediaStore implements MediaStore {
  readonly #client: S3Client;
  readonly #bucket: string;
  readonly #prefix: string;
  readonly #puts = new Semaphore(PUTS_AT_ONCE);

  constructor({ bucket, prefix, region, endpoint, pathStyle, credentials }: S3Options) {
    this.#bucket = bucket;
    this.#prefix = prefix;
    this.#client = new S3Client({
      region,
      forcePathStyle: pathStyle,
      ...(endpoint !== undefined && { endpoint }),
      ...(credentials !== undefined && { credentials: { ...credentials } }),
      requestHandler: { connectionTimeout: CONNECT_MS, requestTimeout: ANSWER_MS },
      // Services that are not Amazon's do not know the newer checksums; the sealed bytes authenticate themselves.
      requestChecksumCalculation: "WHEN_REQUIRED",
      responseChecksumValidation: "WHEN_REQUIRED",
    });
  }

  async put(object: string, source: AsyncIterable<Uint8Array>): Promise<void> {
    await this.#puts.enter();
    const body = Readable.from(source);
    try {
      const upload = new Upload({
        client: this.#client,
        params: { ...this.#place(object), Body: body },
        queueSize: 1,
        partSize: PART_BYTES,
      });
      await upload.done();
    } catch (error) {
      throw body.errored ?? unavailable(error);
    } finally {
      body.destroy();
      this.#puts.leave();
    }
  }

  async *read(object: string, from: number, to: number): AsyncGenerator<Uint8Array> {
    const { Body } = await this.#answer(
      this.#client.send(new GetObjectCommand({ ...this.#place(object), Range: `bytes=${from}-${to}` })),
    );
    const body = Body as Readable;
    try {
      for await (const piece of body) yield piece as Uint8Array;
    } catch (error) {
      throw unavailable(error);
    } finally {
      body.destroy();
    }
  }

  async size(object: string): Promise<number | undefined> {
    try {
      const { ContentLength } = await this.#client.send(new HeadObjectCommand(this.#place(object)));
      return ContentLength;
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw unavailable(error);
    }
  }

  async delete(object: string): Promise<void> {
    await this.#answer(this.#client.send(new DeleteObjectCommand(this.#place(object))));
  }

  async sweep(before: Date): Promise<number> {
    let removed = 0;
    const { Uploads = [] } = await this.#answer(
      this.#client.send(new ListMultipartUploadsCommand({ Bucket: this.#bucket, Prefix: this.#prefix })),
    );
    for (const { Key, UploadId, Initiated } of Uploads) {
      if (Initiated === undefined || Initiated >= before) continue;
      await this.#answer(
        this.#client.send(new AbortMultipartUploadCommand({ Bucket: this.#bucket, Key, UploadId })),
      );
      removed += 1;
    }
    return removed;
  }

  async check(): Promise<void> {
    await this.#answer(this.#client.send(new HeadBucketCommand({ Bucket: this.#bucket })));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#client.destroy();
  }

  #place(object: string): { readonly Bucket: string; readonly Key: string } {
    return { Bucket: this.#bucket, Key: this.#prefix + object };
  }

  async #answer<T>(sent: Promise<T>): Promise<T> {
    try {
      return await sent;
    } catch (error) {
      // The bytes that were asked for lie behind the end: it was truncated.
      const isShorter = error instanceof S3ServiceException && error.name === "InvalidRange";
      if (error instanceof NoSuchKey || isShorter) {
        throw new FabricError("media.damaged", "a stored object is missing or shorter than it was", {
          cause: error,
        });
      }
      throw unavailable(error);
    }
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof NotFound || error instanceof NoSuchKey;
}

function unavailable(cause: unknown): FabricError {
  const name = cause instanceof Error ? cause.name : "unknown";
  return new FabricError("media.unavailable", `the S3 service of media does not work: ${name}`, { cause });
}

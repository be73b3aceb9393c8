/** A file system of a few MiB that can be filled up, mounted for one test; needs root. */
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);
const MIB = Buffer.alloc(1_048_576);

export interface SmallDisk extends AsyncDisposable {
  /** Belongs to `account`; empty at first. */
  readonly directory: string;
  /** Writes until nothing fits any more. */
  fill(): Promise<void>;
  /** Removes what `fill` wrote. */
  free(): Promise<void>;
}

export async function mountSmallDisk(account: string, mib: number): Promise<SmallDisk> {
  const point = mkdtempSync(join(tmpdir(), "linkspan-disk-"));
  await run("mount", ["-t", "tmpfs", "-o", `size=${mib}m,mode=755`, "tmpfs", point]);
  const directory = join(point, "data");
  await run("install", ["-d", "-o", account, "-m", "700", directory]);
  const filler = join(point, "filler");
  return {
    directory,
    fill: async () => {
      await using file = await open(filler, "a");
      for (const piece of [MIB, MIB.subarray(0, 4_096)]) {
        while (await written(() => file.appendFile(piece)));
      }
    },
    free: () => rm(filler, { force: true }),
    [Symbol.asyncDispose]: async () => {
      await run("umount", ["--lazy", point]);
      rmSync(point, { recursive: true, force: true });
    },
  };
}

/** @returns false when the disk is full */
async function written(write: () => Promise<void>): Promise<boolean> {
  try {
    await write();
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOSPC") return false;
    throw error;
  }
}

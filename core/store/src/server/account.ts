/** Who runs the server: PostgreSQL refuses root, so root hands it to an unprivileged account. */
import { chown, lstat, readFile } from "node:fs/promises";
import { userInfo } from "node:os";
import { FabricError } from "@linkspan/envelopes";

export interface Account {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
}

/**
 * @param cluster when it exists, its owner runs it, so that data made by one account is never given to another
 * @returns undefined when the server runs as this very process does
 * @throws FabricError `store.unavailable`
 */
export async function serverAccount(cluster: string): Promise<Account | undefined> {
  const owner = await ownerOf(cluster);
  if (process.getuid?.() !== 0) {
    if (owner !== undefined && process.getuid !== undefined && owner.uid !== process.getuid()) {
      throw new FabricError(
        "store.unavailable",
        `${cluster} belongs to uid ${owner.uid}; run as that account or as root`,
      );
    }
    return undefined;
  }
  if (owner !== undefined && owner.uid !== 0) return owner;
  const accounts = await readAccounts();
  const account =
    accounts.find(({ name }) => name === "postgres") ?? accounts.find(({ name }) => name === "nobody");
  if (account !== undefined && account.uid !== 0) return account;
  throw new FabricError(
    "store.unavailable",
    "PostgreSQL does not run as root and there is neither an account `postgres` nor `nobody`; run as another account",
  );
}

/** The account this process connects as. @throws FabricError `store.unavailable` when the system has no name for it */
export function clientName(): string {
  try {
    return userInfo().username;
  } catch (cause) {
    const uid = process.getuid?.();
    throw new FabricError(
      "store.unavailable",
      `uid ${uid} has no name in /etc/passwd; PostgreSQL needs one`,
      {
        cause,
      },
    );
  }
}

/** Nothing to do when the server runs as this process does. */
export async function giveTo(account: Account | undefined, path: string): Promise<void> {
  if (account !== undefined) await chown(path, account.uid, account.gid);
}

async function ownerOf(cluster: string): Promise<Account | undefined> {
  try {
    const { uid, gid } = await lstat(cluster);
    return { name: `uid ${uid}`, uid, gid };
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw new FabricError(
      "store.unavailable",
      `${cluster} cannot be looked at; was it made by another account?`,
      {
        cause: error,
      },
    );
  }
}

async function readAccounts(): Promise<Account[]> {
  const lines = (await readFile("/etc/passwd", "utf8")).split("\n").map((line) => line.split(":"));
  return lines.flatMap(([name, , uid, gid]) =>
    name && uid && gid ? [{ name, uid: Number(uid), gid: Number(gid) }] : [],
  );
}

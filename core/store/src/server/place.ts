/**
 * Where the server's files lie.
 *
 * Normally `<dataDir>/postgres`. When root starts it, the unprivileged account must be able to walk there.
 * A data directory that only root may enter gets that account's group; where a directory above it is closed
 * (`/root` is), the server's home moves to `/var/lib/linkspan/<random>` and `<dataDir>/postgres/home.json`
 * says so. Never to a temporary directory: those are emptied.
 *
 *     cluster/  PostgreSQL's data, of the account     run/   its socket, of the account
 *     conf/     who may connect, not the account's    lock.* see directory-lock.ts
 */
import { randomBytes } from "node:crypto";
import { chmod, chown, mkdir, mkdtemp, readFile, rename, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { FabricError } from "@linkspan/envelopes";
import { type Account, giveTo, serverAccount } from "./account.ts";

export interface Place {
  readonly home: string;
  readonly cluster: string;
  readonly conf: string;
  readonly account: Account | undefined;
}

const SYSTEM_HOMES = "/var/lib/linkspan";
/** Of a socket's path, on the strictest system. */
const MAX_SOCKET_PATH_BYTES = 103;
const LONGEST_SOCKET_NAME = "/.s.PGSQL.5432";

/**
 * Decides once and records it.
 *
 * @param base `<dataDir>/postgres`, existing and locked
 * @throws FabricError `store.unavailable`
 */
export async function choosePlace(base: string): Promise<Place> {
  const recorded = await recordedHome(base);
  const account = await serverAccount(join(recorded ?? base, "cluster"));
  if (account === undefined) return made(recorded ?? base, undefined);

  if (recorded === undefined) {
    await openDirectory(dirname(base), account);
    if (await canReach(account, dirname(base))) return made(base, account);
    if (await exists(join(base, "cluster"))) {
      throw new FabricError(
        "store.unavailable",
        `account ${account.name} runs the database in ${base} but may no longer go there; open the directories above it`,
      );
    }
  }
  const home = recorded ?? (await recordHome(base));
  await makeSystemHome(home, base);
  return made(home, account);
}

/** A directory for the server's socket, of the account alone. @returns its path and whether it is only for this run */
export async function socketDirectory(place: Place): Promise<{ path: string; temporary: boolean }> {
  const near = join(place.home, "run");
  const temporary = Buffer.byteLength(near + LONGEST_SOCKET_NAME) > MAX_SOCKET_PATH_BYTES;
  const path = temporary ? await mkdtemp(join(tmpdir(), "linkspan-")) : near;
  if (!temporary) await mkdir(near, { recursive: true, mode: 0o700 });
  await giveTo(place.account, path);
  return { path, temporary };
}

/** For what is made under another name and renamed when it is whole. */
export function freshName(path: string): string {
  return `${path}.new-${randomBytes(6).toString("hex")}`;
}

async function made(home: string, account: Account | undefined): Promise<Place> {
  await mkdir(home, { recursive: true, mode: 0o700 });
  const conf = join(home, "conf");
  await mkdir(conf, { recursive: true, mode: 0o700 });
  if (account !== undefined) for (const directory of [home, conf]) await admit(directory, account);
  return { home, cluster: join(home, "cluster"), conf, account };
}

/** The account may walk through, not list and not write; what is its own stays so. */
async function admit(directory: string, account: Account): Promise<void> {
  const { uid } = await stat(directory);
  if (uid === account.uid) return;
  await chown(directory, uid, account.gid);
  await chmod(directory, 0o710);
}

/** Only what is root's alone is opened; whoever set other rights meant them. */
async function openDirectory(dataDir: string, account: Account): Promise<void> {
  const { uid, gid, mode } = await stat(dataDir);
  if (uid === 0 && gid === 0 && (mode & 0o077) === 0) await admit(dataDir, account);
}

async function canReach(account: Account, directory: string): Promise<boolean> {
  for (let path = directory; ; path = dirname(path)) {
    const { uid, gid, mode } = await stat(path);
    const bit = uid === account.uid ? 0o100 : gid === account.gid ? 0o010 : 0o001;
    if ((mode & bit) === 0) return false;
    if (path === dirname(path)) return true;
  }
}

async function recordedHome(base: string): Promise<string | undefined> {
  const file = join(base, "home.json");
  if (!(await exists(file))) return undefined;
  const record: unknown = JSON.parse(await readFile(file, "utf8"));
  return (record as { home: string }).home;
}

/** Recorded before it is made: a crash in between leaves a record, never an ownerless directory. */
async function recordHome(base: string): Promise<string> {
  const home = join(SYSTEM_HOMES, randomBytes(8).toString("hex"));
  const unfinished = freshName(join(base, "home.json"));
  await writeFile(unfinished, JSON.stringify({ home }), { mode: 0o600, flush: true });
  await rename(unfinished, join(base, "home.json"));
  return home;
}

async function makeSystemHome(home: string, base: string): Promise<void> {
  try {
    await mkdir(dirname(home), { recursive: true, mode: 0o711 });
    await mkdir(home, { recursive: true, mode: 0o700 });
    await writeFile(join(home, "of.json"), JSON.stringify({ dataDir: dirname(base) }), { mode: 0o600 });
  } catch (cause) {
    throw new FabricError(
      "store.unavailable",
      `the database's account may not enter ${dirname(base)} and ${home} cannot be made; choose another data directory`,
      { cause },
    );
  }
}

async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return false;
    throw error;
  }
}

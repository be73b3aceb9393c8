import { chmod, cp, mkdir, mkdtemp, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { EmbeddedServer } from "./embedded-server.ts";
import { choosePlace, socketDirectory } from "./place.ts";
import { serversOf } from "./processes.ts";
import { findPrograms, installedPrograms } from "./programs.ts";

const asRoot = test.runIf(process.getuid?.() === 0);
const nothing = () => undefined;
const log = { debug: nothing, info: nothing, warn: nothing, error: nothing };

test("a directory too deep for a socket gets one elsewhere, private and for one run", async () => {
  await using closed = await temporary();
  const home = join(closed.path, "h".repeat(120));
  await mkdir(home);
  const place = { home, cluster: join(home, "cluster"), conf: join(home, "conf"), account: undefined };
  const { path, temporary: forOneRun } = await socketDirectory(place);
  expect(forOneRun).toBe(true);
  expect(path.length).toBeLessThan(80);
  expect((await stat(path)).mode & 0o777).toBe(0o700);
  await rm(path, { recursive: true });
});

asRoot(
  "below a directory that only root may enter, the cluster moves and is found again",
  { timeout: 60_000 },
  async () => {
    await using closed = await temporary();
    const dataDir = join(closed.path, "data");
    await mkdir(dataDir, { mode: 0o700 });
    let home = "";
    try {
      const first = await EmbeddedServer.start({ dataDir, log });
      const record: unknown = JSON.parse(await readFile(join(dataDir, "postgres", "home.json"), "utf8"));
      home = (record as { home: string }).home;
      expect(home).toMatch(/^\/var\/lib\/linkspan\/[0-9a-f]{16}$/);
      expect(await serversOf(join(home, "cluster"))).toContain(first.pid);
      await first[Symbol.asyncDispose]();

      const again = await EmbeddedServer.start({ dataDir, log });
      expect(await serversOf(join(home, "cluster"))).toContain(again.pid);
      await again[Symbol.asyncDispose]();
    } finally {
      if (home !== "") await rm(home, { recursive: true, force: true });
    }
  },
);

asRoot("programs that the account cannot reach are copied to where it can", { timeout: 60_000 }, async () => {
  await using open = await temporary();
  await using closed = await temporary();
  await chmod(open.path, 0o755);
  const { native, version } = await installedPrograms();
  const hidden = join(closed.path, "native");
  await cp(native, hidden, { recursive: true, verbatimSymlinks: true });

  const base = join(open.path, "postgres");
  await mkdir(base);
  const { account } = await choosePlace(base);
  expect(account?.uid).not.toBe(0);
  const programs = await findPrograms(open.path, account, { native: hidden, version });
  expect(programs.postgres.startsWith(open.path)).toBe(true);
});

async function temporary() {
  const path = await mkdtemp(join(tmpdir(), "linkspan-place-"));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

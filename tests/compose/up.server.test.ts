/** `linkspan up` as an all-in-one: nothing is needed but the packages, so it runs everywhere. */
import { existsSync, statSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { treeOf } from "../servers/process-tree.ts";
import { until } from "../servers/until.ts";
import { answers, linkspan, place, pssMib, Up } from "./linkspan.ts";

const READY_MS = 10_000;
const IDLE_MIB = 350;

interface Readiness {
  readonly status: string;
  readonly checks: readonly { readonly name: string; readonly ok: boolean }[];
}

describe("the all-in-one", () => {
  test("one line, ready in time, small when idle, and gone when it is told to go", async () => {
    await using here = await place();
    await using up = await Up.start(here.env);
    expect(up.line).toBe(`ready http://127.0.0.1:${here.env["LINKSPAN_PORT"]}`);
    expect(up.readyAfterMs).toBeLessThan(READY_MS);

    const response = await fetch(`${up.url}/health/ready`);
    const readiness = (await response.json()) as Readiness;
    expect([response.status, readiness.status]).toEqual([200, "ready"]);
    expect(readiness.checks.map(({ name }) => name)).toEqual(expect.arrayContaining(["database", "bus"]));

    expect(pssMib(up.pid)).toBeLessThan(IDLE_MIB);
    for (const file of ["owner.token", "core.seed", "vault.key"]) {
      expect([file, statSync(join(here.data, file)).mode & 0o077]).toEqual([file, 0]);
    }
    expect(treeOf(up.pid).length).toBeGreaterThan(3);
    expect(await up.end("SIGTERM")).toEqual({ code: 0, left: [] });
    expect(up.stdout).toBe(`${up.line}\n`);
  });

  test("a second one on its data is refused and told of the first", async () => {
    await using here = await place();
    await using up = await Up.start(here.env);
    const second = await linkspan(["up"], { env: { ...here.env, LINKSPAN_PORT: "0" } });
    expect([second.code, second.stdout]).toEqual([1, ""]);
    expect(second.stderr).toContain(`process ${up.pid}`);
    expect(second.stderr).toContain(up.url);
    expect((await fetch(`${up.url}/health/ready`)).status).toBe(200);

    const elsewhere = join(here.data, "other");
    const taken = await linkspan(["up"], { env: { ...here.env, LINKSPAN_DATA: elsewhere } });
    expect(taken.code).toBe(1);
    expect(taken.stderr).toContain("LINKSPAN_PORT");
    expect(taken.stderr).not.toContain("    at ");
  });

  test("killed, the next one takes everything over at once, with what was there", async () => {
    await using here = await place();
    let identity: string;
    {
      await using up = await Up.start(here.env);
      const [linked] = await answers<{ identity_id: string }>(["link", "echo", "--user", "ada"], up.env);
      identity = linked?.identity_id ?? "";
      expect((await up.end("SIGKILL")).code).toBe("SIGKILL");
    }
    await using up = await Up.start(here.env);
    expect(up.readyAfterMs).toBeLessThan(READY_MS);
    await until(
      async () => {
        const [one] = await answers<{ id: string; bridge_state: string }>(["identities"], up.env);
        expect(one?.id).toBe(identity);
        return one?.bridge_state === "connected";
      },
      { what: "the account to be connected again" },
    );
    const [intent] = await answers<{ state: string }>(
      ["send", "after all", "--identity", identity, "--to", "lobby", "--wait"],
      up.env,
    );
    expect(intent?.state).toBe("sent");
    expect(await up.end("SIGINT")).toEqual({ code: 0, left: [] });
  });

  test("without roles that need one, there is no API", async () => {
    await using here = await place();
    const refused = await linkspan(["up", "--roles", "irc"], { env: here.env });
    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain("amqp_url");
    await using up = await Up.start(here.env, ["--roles", "core,echo"]);
    expect(up.line).toBe("ready core,echo");
    expect(existsSync(join(here.data, "owner.token"))).toBe(false);
  });
});

test("the demo shows a message through the whole installation, and ends by itself", async () => {
  const demo = await linkspan(["demo"]);
  expect([demo.code, demo.stderr]).toEqual([0, ""]);
  for (const sight of ["linked echo", "sent ", "hello, is anybody there?", "intent.sent", "vault.checkout"]) {
    expect(demo.stdout).toContain(sight);
  }
  const objects = (await linkspan(["demo", "--json"])).lines.map(
    (line) => JSON.parse(line) as Record<string, unknown>,
  );
  expect(objects.length).toBeGreaterThan(5);
});

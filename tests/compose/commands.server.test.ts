/** The commands beside a running all-in-one. */
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { channelRef } from "@linkspan/envelopes";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { answers, type Env, linkspan, place, ROOT, Up } from "./linkspan.ts";

interface Event {
  readonly position: number;
  readonly conversation: string;
  readonly envelope: { readonly payload: { readonly text?: string } };
}

describe("commands", () => {
  let here: Awaited<ReturnType<typeof place>>;
  let up: Up;
  let env: Env;

  beforeAll(async () => {
    here = await place();
    up = await Up.start(here.env);
    env = up.env;
  });
  afterAll(async () => {
    await up?.[Symbol.asyncDispose]();
    await here?.[Symbol.asyncDispose]();
  });

  const linkEcho = async (user: string): Promise<string> => {
    const [linked] = await answers<{ identity_id: string; state: string }>(
      ["link", "echo", "--user", user, "--field", `nick=${user}`],
      env,
    );
    expect(linked?.state).toBe("linked");
    return linked?.identity_id ?? "";
  };

  test("a link without fields asks for what it needs, and tries nothing", async () => {
    const asked = await linkspan(["link", "irc", "--user", "ada"], { env });
    expect([asked.code, asked.stderr]).toEqual([0, ""]);
    expect(asked.stdout).toMatch(/^it asks for:\n {2}--field network=… /);
    expect(asked.stdout).toContain("--secret-file password=FILE");
    const session = /--session (\S+) /.exec(asked.stdout)?.[1] ?? "";
    const faulty = await linkspan(
      ["link", "irc", "--user", "ada", "--session", session, "--field", "network=libera"],
      { env },
    );
    expect(faulty.code).toBe(1);
    expect(faulty.stderr).toContain("nick: it is missing");
  });

  test("link, send, events, audit: the same to people and to programs", async () => {
    const identity = await linkEcho("ada");
    const say = (text: string, ...more: string[]) =>
      answers<{ id: string; state: string }>(
        ["send", text, "--identity", identity, "--to", "ada room", "--wait", ...more],
        env,
      );
    const [first] = await say("one", "--key", "k1");
    const [again] = await say("one", "--key", "k1");
    expect([first?.state, again?.id]).toEqual(["sent", first?.id]);
    const conflict = await linkspan(
      ["send", "two", "--identity", identity, "--to", "ada room", "--key", "k1"],
      { env },
    );
    expect([conflict.code, conflict.stdout]).toEqual([1, ""]);
    expect(conflict.stderr).toContain("intent.conflict");

    const ref = channelRef("default", "echo", ["ada room"]);
    const child = spawn(join(ROOT, "compose/bin/linkspan"), ["events", "--follow", "--json"], {
      env: { ...process.env, ...env },
      stdio: ["ignore", "pipe", "inherit"],
    });
    const seen: Event[] = [];
    await say("two");
    for await (const line of createInterface({ input: child.stdout })) {
      const event = JSON.parse(line) as Event;
      if (event.conversation === ref) seen.push(event);
      if (seen.length === 2) child.kill("SIGTERM");
    }
    if (child.exitCode === null) await once(child, "close");
    expect(child.exitCode).toBe(0);
    expect(seen.map(({ envelope }) => envelope.payload.text)).toEqual(["one", "two"]);

    const after = await answers<Event>(["events", "--cursor", String(seen[0]?.position)], env);
    expect(after.map(({ position }) => position)).toContain(seen[1]?.position);
    expect(after.map(({ position }) => position)).not.toContain(seen[0]?.position);
    expect(await answers(["events", "--cursor", "latest"], env)).toEqual([]);

    const trail = await answers<{ action: string }>(["audit", "--subject", first?.id ?? ""], env);
    expect(trail.map(({ action }) => action).toReversed()).toEqual([
      "intent.recorded",
      "intent.queued",
      "intent.attempting",
      "intent.sent",
    ]);
    const people = await linkspan(["audit", "--subject", first?.id ?? ""], { env });
    expect(people.lines).toHaveLength(4);
    expect(people.stdout).not.toContain("\u001b");
  });

  test("a token is bound to its workspace and role, and another workspace is another world", async () => {
    const [made] = await answers<{ token: string }>(["token", "other", "--workspace", "other"], env);
    const other = { LINKSPAN_TOKEN: made?.token ?? "", LINKSPAN_CORE_URL: up.url };
    expect(await answers(["events"], other)).toEqual([]);
    expect(await answers(["identities"], other)).toEqual([]);
    const trail = await linkspan(["audit", "--json"], { env: other });
    expect(trail.code).toBe(1);
    expect(JSON.parse(trail.stderr)).toMatchObject({ error: { code: "request.forbidden" } });
  });

  test("an enrolment token can go to a file that only its owner reads, and is then not shown", async () => {
    const file = join(here.data, "enrol-token");
    const args = ["daemon", "enrol", "irc", "--instance", "eu-1", "--token-file", file];
    const [issued] = await answers<Record<string, string>>(args, env);
    expect(issued).toMatchObject({ service: "irc", instance: "eu-1", token_file: file });
    const token = readFileSync(file, "utf8").trim();
    expect(token).toMatch(/^lse_/);
    expect(JSON.stringify(issued)).not.toContain(token);
    expect(statSync(file).mode & 0o077).toBe(0);
    expect((await linkspan(args, { env })).code).toBe(1);
    expect(readFileSync(file, "utf8").trim()).toBe(token);
  });

  test("quarantine starts empty, and what is not there is said so", async () => {
    expect(await answers(["quarantine", "list"], env)).toEqual([]);
    for (const args of [
      ["show", "1"],
      ["retry", "1"],
      ["drop", "1"],
    ]) {
      const done = await linkspan(["quarantine", ...args], { env });
      expect([done.code, done.stderr.includes("request.not_found")]).toEqual([1, true]);
    }
  });

  test("a replay to nobody is an error with its code", async () => {
    await linkEcho("grace");
    const done = await linkspan(["replay", "--subscriber", "nobody", "--json"], { env });
    expect(done.code).toBe(1);
    expect(JSON.parse(done.stderr)).toMatchObject({ error: { code: "bus.unroutable" } });
  });

  test("an account that is refused says why", async () => {
    const done = await linkspan(["link", "irc", "--user", "ada", "--field", "nick=a b"], { env });
    expect(done.code).toBe(1);
    expect(done.stderr).toContain("request.invalid");
    expect((await linkspan(["link", "teletext", "--user", "ada"], { env })).stderr).toContain("not_found");
  });

  test("config and doctor look at what runs; the configuration shows no secret", async () => {
    const [config] = await answers<Record<string, unknown>>(["config"], {
      ...env,
      LINKSPAN_TOKEN: "hunter2",
    });
    expect(config).toMatchObject({ data: here.data, token: "[secret]" });
    const findings = await answers<{ check: string; ok: boolean; detail: string }>(["doctor"], env);
    expect(findings.filter(({ ok }) => !ok)).toEqual([]);
    expect(findings.find(({ check }) => check === "linkspan")?.detail).toBe(`ready at ${up.url}`);
  });

  test("doctor names each thing that is amiss, and ends with 1", async () => {
    const key = join(here.data, "loose.seed");
    writeFileSync(key, "x", { mode: 0o644 });
    const done = await linkspan(["doctor", "--json"], {
      env: {
        LINKSPAN_DATA: here.data,
        LINKSPAN_DATABASE_URL: "postgres://nobody@127.0.0.1:1/none",
        LINKSPAN_AMQP_URL: "amqp://127.0.0.1:1",
        LINKSPAN_REDIS_URL: "redis://127.0.0.1:1",
        LINKSPAN_CORE_URL: "http://127.0.0.1:1",
      },
    });
    const bad = done.lines
      .map((line) => JSON.parse(line) as { check: string; ok: boolean; detail: string })
      .filter(({ ok }) => !ok);
    expect(bad.map(({ check }) => check)).toEqual(["data directory", "database", "broker", "redis"]);
    expect(bad[0]?.detail).toContain(key);
    expect(done.code).toBe(1);
  });

  test("what cannot be understood is refused before anything is asked", async () => {
    for (const args of [
      ["send", "hi", "--to", "x"],
      ["events", "--limit", "0"],
      ["events", "--cursor", "-1"],
      ["link", "echo", "--user", "a", "--field", "nick"],
      ["nonsense"],
      ["quarantine", "list", "--state", "odd"],
    ]) {
      const done = await linkspan(args, { env: { ...env, LINKSPAN_CORE_URL: "http://127.0.0.1:1" } });
      expect([args, done.code, done.stdout, done.stderr.startsWith("error:")]).toEqual([args, 1, "", true]);
    }
    const unknown = await linkspan(["config"], { env: { LINKSPAN_PRT: "1" } });
    expect([unknown.code, unknown.stderr.includes("prt")]).toEqual([1, true]);
  });

  // Last, because a daemon loses its key.
  test("keys of daemons are listed, replaced and revoked, and what is refused is seen", async () => {
    interface Key {
      readonly kid: string;
      readonly issuers: readonly string[];
      readonly state: string;
    }
    const keys = () => answers<Key>(["daemon", "keys"], env);
    const echo = (await keys()).find(({ issuers }) => issuers.includes("daemon:echo:primary"));
    expect(echo?.state).toBe("in_force");
    const [issued] = await answers<{ token: string; core_kid: string; instance: string }>(
      ["daemon", "rotate", echo?.kid ?? "", "--grace", "60"],
      env,
    );
    expect([issued?.instance, issued?.token.endsWith(`.${issued.core_kid}`)]).toEqual(["primary", true]);
    const core = (await keys()).find(({ issuers }) => issuers.includes("core"));
    const refused = await linkspan(["daemon", "revoke", core?.kid ?? "", "--why", "tested"], { env });
    expect([refused.code, refused.stderr.includes("request.forbidden")]).toEqual([1, true]);
    const irc = (await keys()).find(({ issuers }) => issuers.includes("daemon:irc:primary"));
    await answers(["daemon", "revoke", irc?.kid ?? "", "--why", "tested"], env);
    expect((await keys()).find(({ kid }) => kid === irc?.kid)?.state).toBe("revoked");
    const seen = await answers<{ kind: string; subject: string }>(
      ["audit", "--refusals", "--limit", "10"],
      env,
    );
    expect(Array.isArray(seen)).toBe(true);
  });
});

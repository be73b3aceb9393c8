/** Each program in examples/ against a real installation, as its head says to run it. */
import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { answers, linkspan, place, ROOT, Up } from "../compose/linkspan.ts";
import { describeWithServers } from "../servers/available.ts";
import { type RabbitmqServer, startRabbitmq } from "../servers/rabbitmq.ts";
import { until } from "../servers/until.ts";
import { LineServer } from "./line-server.ts";
import { Program } from "./program.ts";

const NODE = join(ROOT, "node_modules/.bin/node");
/** As servers are: on a laptop without it, the example in Python is not run; CI must have it. */
const hasPython = process.env["CI"] !== undefined || spawnSync("python3", ["--version"]).status === 0;
const BACKENDS = [["backend.ts", NODE], ...(hasPython ? [["backend.py", "python3"] as const] : [])] as const;
const MAX_BACKEND_LINES = 60;
const lobby = "msgr://channels/default/bridge/echo/lobby";

test("a backend is less than 60 lines in each language", () => {
  const backends = readdirSync(join(ROOT, "examples")).filter((name) => name.startsWith("backend."));
  expect(backends).toEqual(["backend.py", "backend.ts"]);
  for (const name of backends) {
    const lines = readFileSync(join(ROOT, "examples", name), "utf8")
      .trimEnd()
      .split("\n");
    expect(lines.length, name).toBeLessThan(MAX_BACKEND_LINES);
  }
});

describe("beside an all-in-one", () => {
  let here: Awaited<ReturnType<typeof place>>;
  let up: Up;
  let identity: string;
  let env: Record<string, string>;

  beforeAll(async () => {
    here = await place();
    up = await Up.start(here.env);
    const [linked] = await answers<{ identity_id: string }>(["link", "echo", "--user", "ada"], here.env);
    identity = linked?.identity_id ?? "";
    const token = await linkspan(["token", "example", "--role", "backend"], { env: here.env });
    env = { LINKSPAN_URL: up.url, LINKSPAN_TOKEN: token.stdout.trim() };
  });
  afterAll(async () => {
    await up?.[Symbol.asyncDispose]();
    await here?.[Symbol.asyncDispose]();
  });

  test.each(BACKENDS)("%s sends and reads the answer", async (file, program) => {
    await using backend = new Program([program, file, identity, lobby, `from ${file}`], env);
    expect([await backend.ended(), backend.stderr]).toEqual([0, ""]);
    expect(backend.stdout).toMatch(/^sent/);
    expect(backend.stdout).toContain(`${lobby} <echo> from ${file}`);
  });

  test.each(BACKENDS)("%s shows why it was refused", async (file, program) => {
    const wrong = { ...env, LINKSPAN_TOKEN: "lsp_wrong" };
    await using backend = new Program([program, file, identity, lobby, "unheard"], wrong);
    expect(await backend.ended()).not.toBe(0);
    expect(backend.stderr).toContain("request.unauthorized");
  });

  test("reader.ts goes on where it was when it is started again", async () => {
    const cursor = join(here.data, "reader.cursor");
    const send = (text: string) =>
      answers(["send", text, "--identity", identity, "--to", "lobby", "--wait"], here.env);
    {
      await using reader = new Program([NODE, "reader.ts", cursor], env);
      await send("before the break");
      await reader.prints("<echo> before the break");
      const [, id] = /^(\d+) \S+ <echo> before the break$/m.exec(reader.stdout) ?? [];
      await until(() => readFileSync(cursor, "utf8") === id, { what: "the cursor in the file" });
    }
    await send("during the break");
    await using reader = new Program([NODE, "reader.ts", cursor], env);
    await reader.prints("<echo> during the break");
    expect(reader.stdout).not.toContain("before the break");
  });
});

describeWithServers(["rabbitmq"], "beside a core on RabbitMQ", () => {
  let broker: RabbitmqServer;
  let here: Awaited<ReturnType<typeof place>>;
  beforeAll(async () => {
    here = await place();
    broker = await startRabbitmq();
  });
  afterAll(async () => {
    await broker?.[Symbol.asyncDispose]();
    await here?.[Symbol.asyncDispose]();
  });

  test("daemon.ts enrols, links, says, hears, and reads on after its connection was cut", async () => {
    await using platform = await LineServer.start();
    const bus = await broker.vhost("examples");
    await using up = await Up.start({ ...here.env, LINKSPAN_AMQP_URL: bus }, ["--roles", "core,api"]);
    const tokenFile = join(here.data, "lines.token");
    const enrol = ["daemon", "enrol", "echo", "--instance", "lines", "--token-file", tokenFile];
    await answers(enrol, up.env);
    await using daemon = new Program([NODE, "daemon.ts"], {
      LINKSPAN_DAEMON_INSTANCE: "lines",
      LINKSPAN_DAEMON_BUS_URL: bus,
      LINKSPAN_DAEMON_CORE_URL: up.url,
      LINKSPAN_DAEMON_ENROL_TOKEN_FILE: tokenFile,
      LINKSPAN_DAEMON_KEY_FILE: join(here.data, "lines.keys.json"),
    });
    await daemon.prints("term.begun");

    const fields = ["--field", "host=127.0.0.1", "--field", `port=${platform.port}`, "--field", "name=ada"];
    const link = ["link", "echo", "--user", "ada", "--instance", "lines", ...fields];
    const [linked] = await answers<{ identity_id: string }>(link, up.env);
    const send = ["send", "hello\nthere", "--identity", linked?.identity_id ?? "", "--to", "room", "--wait"];
    const [intent] = await answers<{ state: string }>(send, up.env);
    expect(intent?.state).toBe("sent");
    expect(platform.said.map(({ name, text }) => [name, text])).toEqual([
      ["ada", "hello"],
      ["ada", "there"],
    ]);

    platform.cut();
    platform.say("grace", "while you were away");
    await using reader = new Program([NODE, "reader.ts", join(here.data, "cursor")], {
      LINKSPAN_URL: up.url,
      LINKSPAN_TOKEN: readFileSync(join(here.data, "owner.token"), "utf8").trim(),
    });
    await reader.prints("<grace> while you were away");
    expect(reader.stdout.match(/<ada> hello/g)).toHaveLength(1);
  });
});

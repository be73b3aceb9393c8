/** The README's tour, as it stands there, against real servers. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { accessSync, constants, readFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, expect, test } from "vitest";
import { describeWithServers } from "../servers/available.ts";
import { type InspircdServer, startInspircd } from "../servers/inspircd.ts";
import { IrcClient } from "../servers/irc-client.ts";
import { type PostgresServer, startPostgres } from "../servers/postgres.ts";
import { type RabbitmqServer, startRabbitmq } from "../servers/rabbitmq.ts";
import { type Env, place, ROOT, Up } from "./linkspan.ts";

const NICK = "ada-linkspan";
const NETWORK = "tour";
const CHANNEL = "#linkspan-tour";

const readme = readFileSync(join(ROOT, "README.md"), "utf8");
const tour = readme.slice(readme.indexOf("## Five minutes"), readme.indexOf("## Further"));
const commands = [...tour.matchAll(/^```sh\n(.*?)^```$/gms)].flatMap(
  ([, block]) => block?.trimEnd().split("\n") ?? [],
);

/** The one command of the tour that starts so; each is run by the test that asks for it. */
function command(start: string): string {
  const [found, ...others] = commands.filter((line) => line.startsWith(start));
  if (found === undefined || others.length > 0)
    throw new Error(`not one command of the tour starts ${start}`);
  return found;
}

function shell(line: string, env: Env) {
  const command = line.replaceAll("npx linkspan", join(ROOT, "compose/bin/linkspan"));
  return spawn("sh", ["-c", command], { cwd: ROOT, env: { ...process.env, ...env } });
}

async function run(line: string, env: Env): Promise<string> {
  const child = shell(line, env);
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr), once(child, "close")]);
  if (child.exitCode !== 0) throw new Error(`${line}\n${stdout}${stderr}`);
  return stdout;
}

test("npx finds the command, and npm start is what the tour runs", () => {
  const { bin } = JSON.parse(readFileSync(join(ROOT, "compose/package.json"), "utf8")) as {
    bin: { linkspan: string };
  };
  accessSync(join(ROOT, "compose", bin.linkspan), constants.X_OK);
  const { scripts } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as {
    scripts: Record<string, string>;
  };
  expect(scripts["start"]).toBe("exec node compose/src/main.ts up");
  const shown = [...readme.matchAll(/^ {4}(npm .*)$/gm)].map(([, line]) => line);
  expect(shown).toEqual(["npm install && npm start", "npm install && npm test"]);
});

describeWithServers(["inspircd"], "the tour", () => {
  let here: Awaited<ReturnType<typeof place>>;
  let irc: InspircdServer;
  let up: Up;
  let friend: IrcClient;

  beforeAll(async () => {
    here = await place();
    [irc, up] = await Promise.all([startInspircd(), Up.start(here.env)]);
    friend = await IrcClient.connect({ port: irc.port, nick: "grace" });
    friend.say(`JOIN ${CHANNEL}`);
    await friend.expect(/ 366 /);
  });
  afterAll(async () => {
    friend?.[Symbol.dispose]();
    await up?.[Symbol.asyncDispose]();
    await irc?.[Symbol.asyncDispose]();
    await here?.[Symbol.asyncDispose]();
  });

  test("link an account", async () => {
    // The name of a public network belongs to its own servers.
    const line = command("npx linkspan link irc")
      .replace("network=libera", `network=${NETWORK}`)
      .replace(
        "--field host=irc.libera.chat",
        `--field host=${irc.host} --field port=${irc.port} --field tls=false`,
      );
    expect(line).toContain(`network=${NETWORK}`);
    expect(line).toContain(String(irc.port));
    expect(await run(line, up.env)).toMatch(/^linked irc as identity /);
    const identities = await run(command("npx linkspan identities"), up.env);
    expect(identities).toContain(NICK);
    expect(identities).toContain("connected");
    await friend.expect(new RegExp(`^:${NICK}!.* JOIN :?${CHANNEL}`));
  });

  test("send", async () => {
    const line = command("npx linkspan send").replace("libera/", `${NETWORK}/`);
    expect(line).toContain(`${NETWORK}/`);
    expect(await run(line, up.env)).toMatch(/^sent /);
    await friend.expect(new RegExp(`^:${NICK}!.* PRIVMSG ${CHANNEL} :Hello from a message queue$`));
  });

  test("receive", async () => {
    const child = shell(`exec ${command("npx linkspan events --follow")}`, up.env);
    friend.say(`PRIVMSG ${CHANNEL} :I hear you`);
    for await (const line of createInterface({ input: child.stdout })) {
      if (line.endsWith("<grace> I hear you")) child.kill("SIGTERM");
    }
    if (child.exitCode === null && child.signalCode === null) await once(child, "close");
    expect(child.exitCode).toBe(0);
  });

  test("read the audit trail", async () => {
    const trail = await run(command("npx linkspan audit"), up.env);
    for (const deed of ["session.opened", "identity.linked", "intent.queued", "intent.sent"]) {
      expect(trail).toContain(deed);
    }
    expect(trail).not.toContain("Hello from a message queue");
  });

  test("ask as a backend does", async () => {
    const both = `${command("export TOKEN")}\n${command("curl").replace("http://127.0.0.1:8787", up.url)}`;
    const answer = JSON.parse(await run(both, up.env)) as { events: object[] };
    expect(answer.events.length).toBeGreaterThan(0);
  });

  test("look first", async () => {
    expect(await run(command("npx linkspan demo"), {})).toContain("intent.sent");
  });
});

describeWithServers(["rabbitmq", "postgres"], "the tour's switch", () => {
  let broker: RabbitmqServer;
  let database: PostgresServer;

  beforeAll(async () => {
    [broker, database] = await Promise.all([startRabbitmq(), startPostgres()]);
  });
  afterAll(async () => {
    await broker?.[Symbol.asyncDispose]();
    await database?.[Symbol.asyncDispose]();
  });

  test("to RabbitMQ and PostgreSQL, by two variables", async () => {
    await using here = await place();
    const line = command("export LINKSPAN_AMQP_URL");
    const named = [...line.matchAll(/(LINKSPAN_\w+)=\S+/g)].map(([, name]) => name);
    expect(named).toEqual(["LINKSPAN_AMQP_URL", "LINKSPAN_DATABASE_URL"]);
    const env = {
      ...here.env,
      LINKSPAN_AMQP_URL: broker.url,
      LINKSPAN_DATABASE_URL: await database.createDatabase("linkspan"),
    };
    expect(await run(command("npx linkspan doctor"), env)).not.toContain("bad ");
    expect(command("npm start")).toBe("npm start");
    await using up = await Up.start(env);
    expect((await fetch(`${up.url}/health/ready`)).status).toBe(200);
    expect(await run("npx linkspan link echo --user alice", env)).toMatch(/^linked echo/);
    expect(await up.end("SIGTERM")).toEqual({ code: 0, left: [] });
  });
});

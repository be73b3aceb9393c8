/**
 * A hostile tenant, a hostile daemon and a hostile IRC server against an installation that serves an honest tenant.
 * `HOSTILE_SECONDS` says for how long (default 30; `npm run hostile` takes ten minutes), `HOSTILE_SEED` repeats a
 * run's choices.
 */
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { connectClient, parseConfig } from "@linkspan/compose";
import { definitions } from "@linkspan/compose/stack";
import { signerFromSeed, generateSealKeys, toBase64url } from "@linkspan/envelopes";
import { Database } from "@linkspan/store";
import { expect, test } from "vitest";
import { newDaemon, startCoreWorker } from "../chaos/fabric.ts";
import { boundToParent, directoryFor, giveTo } from "../servers/account.ts";
import { describeWithServers } from "../servers/available.ts";
import { startPostgres } from "../servers/postgres.ts";
import { startRabbitmq } from "../servers/rabbitmq.ts";
import { until } from "../servers/until.ts";
import type { AttackOptions, AttackReport } from "./attack.ts";
import { HonestTenant } from "./honest.ts";

const SECONDS = Number(process.env.HOSTILE_SECONDS ?? 30);
const SEED = Number(process.env.HOSTILE_SEED ?? Date.now() % 1_000_000);
/** Of the honest tenant's undisturbed 99th percentile. */
const FACTOR = 5;
const BASELINE_MS = 15_000;
const HONEST = "honest";
const EVIL = "evil";

describeWithServers(["rabbitmq", "postgres"], "misuse", () => {
  test("one tenant's and one daemon's misuse is nobody else's", {
    timeout: (SECONDS + 300) * 1_000,
  }, async () => {
    console.info(`hostile: seed ${SEED}, ${SECONDS} s`);
    await using stack = new AsyncDisposableStack();
    const postgres = stack.use(await startPostgres());
    const rabbitmq = stack.use(await startRabbitmq());
    const passwords = { core: password(), echo: password(), irc: password(), evil: password() };
    const directory = directoryFor("rabbitmq", "definitions");
    const file = join(directory, "definitions.json");
    const told = definitions("main", [
      { user: "core", password: passwords.core, role: { kind: "core" } },
      ...(["echo", "irc"] as const).map((service) => ({
        user: service,
        password: passwords[service],
        role: { kind: "daemon", service, instance: "primary" } as const,
      })),
      { user: "evil", password: passwords.evil, role: { kind: "daemon", service: "irc", instance: EVIL } },
    ]);
    writeFileSync(file, JSON.stringify(told));
    giveTo("rabbitmq", directory);
    await rabbitmq.ctl("import_definitions", file);
    const urlOf = (user: keyof typeof passwords) =>
      `amqp://${user}:${passwords[user]}@127.0.0.1:${rabbitmq.port}/main`;
    const databaseUrl = await postgres.createDatabase("hostile");
    const worker = stack.use(await startCoreWorker(urlOf("core"), databaseUrl));
    const { client } = worker;
    const processes = [worker.process];
    for (const service of ["echo", "irc"] as const) {
      const env = { ...worker.env, LINKSPAN_AMQP_URL: urlOf(service) };
      const daemon = stack.use(await newDaemon(client, worker.data, env, { service }));
      await daemon.start();
      processes.push(daemon);
    }
    const pids = processes.map(({ pid }) => pid);

    const clientOf = async (workspace: string) => {
      const { token } = await client.send<{ token: string }>("POST", "/v1/tokens", {
        name: `owner-of-${workspace}`,
        role: "owner",
        workspace_id: workspace,
      });
      const env = { LINKSPAN_TOKEN: token, LINKSPAN_CORE_URL: client.url, LINKSPAN_WORKSPACE: workspace };
      return { token, client: await connectClient(parseConfig(env, undefined)) };
    };
    const mark = `honest-${randomBytes(8).toString("hex")}`;
    const honest = stack.use(await HonestTenant.start((await clientOf(HONEST)).client, HONEST, mark));
    await honest.measure(3_000);
    const before = await honest.measure(BASELINE_MS);

    const attack = startAttack({
      seed: SEED,
      url: client.url,
      token: (await clientOf(EVIL)).token,
      amqpUrl: urlOf("evil"),
      signingSeed: await enrolled(client),
      service: "irc",
      instance: EVIL,
      foreign: { identityId: honest.identityId, workspace: HONEST, mark },
    });
    const during = await honest.measure(SECONDS * 1_000);
    const seen = await attack.end();
    console.info(
      `hostile: ${seen.requests} requests ${JSON.stringify(seen.statuses)}, ${seen.envelopes} envelopes, ` +
        `${seen.ircConnections} connections to the hostile IRC server; honest p99 ${before.p99.toFixed(0)} ms ` +
        `(${before.count}) undisturbed, ${during.p99.toFixed(0)} ms (${during.count}) during`,
    );

    expect(seen.faults).toEqual([]);
    expect(
      processes.map((one) => one.running && one.pid),
      "the same processes",
    ).toEqual(pids);
    const ready = async () => (await fetch(`${client.url}/health/ready`)).ok;
    await until(ready, { what: "health to be good" });
    await honest.check();
    expect(during.p99).toBeLessThanOrEqual(before.p99 * FACTOR);

    await using database = new Database(databaseUrl);
    const { rows: misplaced } = await database.query<{ count: string }>(
      `SELECT count(*) FROM events WHERE (workspace_id = $1) <> (position($2::bytea IN body) > 0)`,
      [HONEST, Buffer.from(mark)],
    );
    expect(Number(misplaced[0]?.count), "events in the wrong workspace").toBe(0);
    const { rows: audited } = await database.query<{ count: string }>(
      "SELECT count(*) FROM audit_entries WHERE workspace_id = $1 AND actor LIKE $2",
      [HONEST, `%owner-of-${EVIL}%`],
    );
    expect(Number(audited[0]?.count), "audit entries of the hostile tenant with the honest one").toBe(0);
  });
});

function password(): string {
  return randomBytes(18).toString("base64url");
}

function startAttack(options: AttackOptions): { end(): Promise<AttackReport> } {
  const program = fileURLToPath(new URL("attack.ts", import.meta.url));
  const [file, ...args] = boundToParent([process.execPath, program, JSON.stringify(options)]);
  const child = spawn(file, args, { stdio: ["pipe", "pipe", "inherit"] });
  const printed = text(child.stdout);
  return {
    end: async () => {
      child.stdin.end();
      return JSON.parse(await printed) as AttackReport;
    },
  };
}

/** Enrols as a daemon does. @returns the seed of its signing key in hexadecimal */
async function enrolled(client: { send: <T>(m: "POST", path: string, body: unknown) => Promise<T> }) {
  const { token } = await client.send<{ token: string }>("POST", "/v1/enrolment-tokens", {
    service: "irc",
    instance: EVIL,
  });
  const seed = randomBytes(32);
  const signer = signerFromSeed(seed);
  const seal = await generateSealKeys();
  await client.send("POST", "/v1/enrolments", {
    token,
    public_key_b64u: toBase64url(signer.publicKey),
    seal_b64u: toBase64url(seal.publicKey),
  });
  return seed.toString("hex");
}

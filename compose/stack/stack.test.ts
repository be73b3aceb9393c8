/** Checks the container stack without running it. */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { parse } from "yaml";
import { type Config, parseConfig } from "../src/config.ts";
import { rightsOf } from "./definitions.ts";
import { prepare, secrets as drawSecrets } from "./prepare.ts";

interface Definitions {
  readonly users: readonly { readonly name: string; readonly password_hash: string }[];
  readonly permissions: readonly { readonly user: string; readonly configure: string }[];
}

interface Service {
  readonly image: string;
  readonly command?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  readonly secrets?: readonly string[];
  readonly volumes?: readonly string[];
  readonly networks: readonly string[];
  readonly ports?: readonly string[];
  readonly read_only?: boolean;
  readonly cap_drop?: readonly string[];
  readonly security_opt?: readonly string[];
  readonly healthcheck?: object;
  readonly depends_on?: Readonly<Record<string, { readonly condition: string }>>;
  readonly restart: string;
}

interface Stack {
  readonly services: Readonly<Record<string, Service>>;
  readonly secrets: Readonly<Record<string, { readonly file: string }>>;
  readonly volumes: Readonly<Record<string, unknown>>;
  readonly networks: Readonly<Record<string, { readonly internal?: boolean }>>;
}

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const DIRECTORY = join(ROOT, "compose/stack");
const text = readFileSync(join(DIRECTORY, "compose.yaml"), "utf8");
const { services, secrets, volumes, networks } = parse(text, { merge: true }) as Stack;
const ours = Object.entries(services).filter(([, { image }]) => image === "linkspan");
const drawn = drawSecrets(() => "drawn");

/** The configuration that results from a service's own environment, with its secrets read. */
function configOf({ environment = {}, command = [] }: Service): Config {
  const roles = command[command.indexOf("--roles") + 1];
  const env = Object.entries(environment).map(([name, value]): [string, string] => {
    const secret = /^\/run\/secrets\/(.+)$/.exec(value)?.[1];
    if (secret === undefined || !name.endsWith("_FILE")) return [name, value];
    return [name.replace(/_FILE$/, ""), drawn[secret] ?? `no secret ${secret}`];
  });
  return parseConfig({ ...Object.fromEntries(env), LINKSPAN_ROLES: roles ?? "" }, undefined);
}

describe("compose.yaml", () => {
  test("has the servers in the versions that they are meant for, and every role", () => {
    const images = Object.fromEntries(Object.entries(services).map(([name, { image }]) => [name, image]));
    expect(images).toMatchObject({ postgres: "postgres:17", rabbitmq: "rabbitmq:4", redis: "redis:8" });
    expect(ours.map(([name]) => name).toSorted()).toEqual(["api", "core", "echo", "enrol", "irc"]);
  });

  test("each of our programs is confined", () => {
    for (const [name, service] of ours) {
      expect([name, service.read_only, service.cap_drop]).toEqual([name, true, ["ALL"]]);
      expect(service.security_opt).toEqual(["no-new-privileges:true"]);
    }
    expect(readFileSync(join(DIRECTORY, "Dockerfile"), "utf8")).toMatch(/^USER node$/m);
  });

  test("each one's environment is a configuration, and its secrets are among those drawn", () => {
    for (const [name, service] of ours.filter(([one]) => one !== "enrol")) {
      const config = configOf(service);
      expect([name, config.roles]).toEqual([name, [name]]);
      const named = Object.values(service.environment ?? {}).flatMap(
        (value) => /^\/run\/secrets\/(.+)$/.exec(value)?.[1] ?? [],
      );
      expect([name, named.toSorted()]).toEqual([name, [...(service.secrets ?? [])].toSorted()]);
      expect(config.amqp_url).toContain(`//${name === "api" ? "core" : name}:drawn@rabbitmq:5672/main`);
    }
    expect(Object.keys(secrets).toSorted()).toEqual(Object.keys(drawn).toSorted());
    for (const [name, { file }] of Object.entries(secrets)) expect(file).toBe(`./secrets/${name}`);
  });

  test("a daemon has neither the database nor the core's keys", () => {
    for (const name of ["irc", "echo"]) {
      const service = services[name];
      expect(service?.secrets).toEqual([`amqp_${name}_url`]);
      expect(service?.volumes).toEqual([`${name}:/data`, "enrol:/enrol:ro"]);
    }
  });

  test("only the API is published, and only to this machine; servers have no way out", () => {
    const published = Object.entries(services).flatMap(([name, { ports }]) =>
      (ports ?? []).map((port) => [name, port]),
    );
    expect(published).toEqual([["api", "127.0.0.1:8787:8787"]]);
    expect(networks["inside"]?.internal).toBe(true);
    for (const name of ["postgres", "rabbitmq", "redis", "core", "echo"]) {
      expect([name, services[name]?.networks]).toEqual([name, ["inside"]]);
    }
  });

  test("names of volumes, networks and dependencies are declared; who is waited for can tell that it is well", () => {
    for (const service of Object.values(services)) {
      for (const volume of service.volumes ?? []) {
        const source = volume.split(":")[0] ?? "";
        if (source.startsWith("./")) expect(existsSync(join(DIRECTORY, source))).toBe(true);
        else expect(Object.keys(volumes)).toContain(source);
      }
      for (const network of service.networks) expect(Object.keys(networks)).toContain(network);
      for (const [name, { condition }] of Object.entries(service.depends_on ?? {})) {
        if (condition === "service_healthy") expect(services[name]?.healthcheck).toBeDefined();
        if (condition === "service_completed_successfully") expect(services[name]?.restart).toBe("no");
      }
    }
  });

  const hasCompose = spawnSync("docker", ["compose", "version"]).status === 0;
  test.runIf(hasCompose)("docker compose understands it", () => {
    const done = spawnSync("docker", [
      "compose",
      "--file",
      join(DIRECTORY, "compose.yaml"),
      "config",
      "--quiet",
    ]);
    expect([done.status, done.stderr.toString()]).toEqual([0, ""]);
  });
});

test("the image gets every package that the workspace has, and no secret", () => {
  const dockerfile = readFileSync(join(DIRECTORY, "Dockerfile"), "utf8");
  const { workspaces } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as {
    workspaces: string[];
  };
  for (const workspace of workspaces) {
    expect(dockerfile).toContain(`COPY ${workspace}/package.json ${workspace}/\n`);
  }
  expect(readFileSync(join(DIRECTORY, "Dockerfile.dockerignore"), "utf8")).toContain("compose/stack/secrets");
});

describe("the secrets", () => {
  let parent: string;
  let directory: string;
  beforeEach(() => {
    parent = mkdtempSync(join(tmpdir(), "linkspan-stack-"));
    directory = join(parent, "secrets");
  });
  afterEach(() => rmSync(parent, { recursive: true }));

  test("are drawn once, into a directory that is closed to others", () => {
    expect(prepare(directory)).toBe(true);
    const first = readFileSync(join(directory, "amqp_irc_url"), "utf8");
    expect(first).toMatch(/^amqp:\/\/irc:[A-Za-z0-9_-]{32}@rabbitmq:5672\/main\n$/);
    expect(prepare(directory)).toBe(false);
    expect(readFileSync(join(directory, "amqp_irc_url"), "utf8")).toBe(first);
    expect(statSync(directory).mode & 0o077).toBe(0);
  });

  test("after an upgrade the broker's definitions have the new rights and the same passwords", () => {
    prepare(directory);
    const path = join(directory, "rabbitmq_definitions.json");
    const before = JSON.parse(readFileSync(path, "utf8")) as Definitions;
    const old = { ...before, permissions: before.permissions.map((one) => ({ ...one, configure: ".*" })) };
    rmSync(path);
    writeFileSync(path, JSON.stringify(old));
    expect(prepare(directory)).toBe(false);
    const after = JSON.parse(readFileSync(path, "utf8")) as Definitions;
    expect(after.permissions).toEqual(before.permissions);
    for (const { name, password_hash } of after.users) {
      const { password } = new URL(readFileSync(join(directory, `amqp_${name}_url`), "utf8").trim());
      const bytes = Buffer.from(password_hash, "base64");
      const salted = Buffer.concat([bytes.subarray(0, 4), Buffer.from(password)]);
      expect(bytes.subarray(4), name).toEqual(createHash("sha256").update(salted).digest());
    }
    expect(after.users.map(({ name }) => name)).toEqual(["core", "irc", "echo"]);
  });

  test("the broker's definitions hold hashes, no passwords", () => {
    prepare(directory);
    const definitions = readFileSync(join(directory, "rabbitmq_definitions.json"), "utf8");
    const url = new URL(readFileSync(join(directory, "amqp_core_url"), "utf8").trim());
    expect(url.password).not.toBe("");
    expect(definitions).not.toContain(url.password);
  });
});

describe("the broker's permissions", () => {
  const irc = rightsOf({ kind: "daemon", service: "irc", instance: "primary" });

  test("every pattern is anchored, so that irc is not irc2", () => {
    for (const rights of [irc, rightsOf({ kind: "core" })]) {
      for (const pattern of Object.values<string>({ ...rights })) expect(pattern).toMatch(/^\^\(.*\)\$$/);
    }
  });

  test.each([
    ["irc._.inbound_event.p00", true],
    ["irc._.delivery_status.p07", true],
    ["core._.hello.p00", true],
    ["vault._.checkout.p00", true],
    ["vault._.load_rows.p00", true],
    ["vault._.commit_rows.p00", true],
    ["vault._.shred.p00", false],
    ["reply.core._.boot-1", true],
    ["irc2._.inbound_event.p00", false],
    ["xirc._.inbound_event.p00", false],
    ["irc.eu-1.inbound_event.p00", false],
    ["irc._.outbound_message.p00", false],
    ["irc._.ack_event.p00", false],
    ["echo._.inbound_event.p00", false],
    ["core._.changed.p00", false],
    ["core._.submit_intent.p00", false],
    ["vault._.checkout.p00.x", false],
    ["reply.irc._.boot-1", false],
    ["bridge.dead.irc._", true],
    ["bridge.dead", false],
    ["bridge.dead.echo._", false],
    ["bridge.dead.irc.eu-1", false],
    ["bridge.dead.core._", false],
    ["#", false],
  ])("a daemon may publish %s: %s", (key, may) => {
    expect(new RegExp(irc.publishes).test(key)).toBe(may);
  });

  test.each([
    ["irc.primary.p00", true],
    ["irc.primary.control", true],
    ["reply.irc._.boot.1", true],
    ["core.inbound.p00", false],
    ["core.requests", false],
    ["bridge.dead", false],
    ["irc.eu-1.p00", false],
    ["echo.primary.p00", false],
    ["", false],
  ])("a daemon may read %j: %s", (queue, may) => {
    expect(new RegExp(irc.read).test(queue)).toBe(may);
  });

  test.each([
    ["irc.primary.p00", true],
    ["reply.irc._.boot.1", true],
    ["bridge", false],
    ["bridge.dead", false],
    ["bridge.replay", false],
    ["core.inbound.p00", false],
    ["irc.eu-1.p00", false],
    ["", false],
  ])("a daemon may declare and delete %j: %s", (name, may) => {
    expect(new RegExp(irc.configure).test(name)).toBe(may);
  });

  test("a daemon publishes to the exchange and binds queues of its own, nothing else", () => {
    for (const name of ["bridge", "irc.primary.p00"]) expect(new RegExp(irc.write).test(name)).toBe(true);
    for (const name of ["bridge.dead", "core.requests", "echo.primary.p00", "amq.topic"]) {
      expect([name, new RegExp(irc.write).test(name)]).toEqual([name, false]);
    }
    expect(new RegExp(irc.binds).test("bridge.dead.*.*")).toBe(false);
  });

  test.each([
    ["core._.submit_intent.p00", true],
    ["core._.hello.p00", false],
    ["core._.attempt.p00", false],
    ["vault._.checkout.p00", false],
    ["irc._.inbound_event.p00", false],
    ["irc._.outbound_message.p00", false],
    ["reply.core._.boot-1", false],
    ["bridge.dead.core._", false],
  ])("a backend publishes %s: %s", (key, may) => {
    const shop = rightsOf({ kind: "backend", name: "shop" });
    expect(new RegExp(shop.publishes).test(key)).toBe(may);
    expect(new RegExp(shop.binds).test("reply.backend.shop.boot-1")).toBe(true);
    expect(new RegExp(shop.binds).test("reply.backend.shop2.boot-1")).toBe(false);
    expect(new RegExp(shop.binds).test("core.*.changed.*")).toBe(false);
  });

  test("nobody may write to the default exchange", () => {
    const daemon = { kind: "daemon", service: "irc", instance: "eu-1" } as const;
    for (const role of [{ kind: "core" }, daemon, { kind: "backend", name: "shop" }] as const) {
      expect(new RegExp(rightsOf(role).write).test("")).toBe(false);
      expect(new RegExp(rightsOf(role).write).test("amq.default")).toBe(false);
    }
  });
});

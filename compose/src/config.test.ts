import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { ConfigError, envExample, parseConfig, readConfig, redacted } from "./config.ts";

const faultsOf = (work: () => unknown): string => {
  try {
    work();
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError);
    return (error as Error).message;
  }
  throw new Error("nothing was refused");
};

test("without anything it is the all-in-one for development", () => {
  expect(parseConfig({}, undefined)).toMatchObject({
    port: 8_787,
    host: "127.0.0.1",
    data: join(process.cwd(), ".linkspan"),
    roles: ["core", "api", "irc", "echo"],
    profile: "development",
    signatures: "required",
  });
});

test("variables win over the file, and an empty one counts as absent", () => {
  const file = { port: 1, namespace: "other", roles: ["core"] };
  const env = { LINKSPAN_PORT: "2", LINKSPAN_NAMESPACE: "", LINKSPAN_ROLES: "core, api", HOME: "/" };
  expect(parseConfig(env, file)).toMatchObject({ port: 2, namespace: "other", roles: ["core", "api"] });
});

test("every fault is in one message, and no value is", () => {
  const message = faultsOf(() =>
    parseConfig(
      {
        LINKSPAN_PORT: "70000",
        LINKSPAN_ROLES: "core,unheard",
        LINKSPAN_DATABASE_URL: "mysql://u:hunter2@db/x",
        LINKSPAN_AMQP_URL: "not a url, hunter2",
        LINKSPAN_NAMESPACE: "UPPER",
        LINKSPAN_DATBASE_URL: "postgres://db/x",
      },
      { colour: "green" },
    ),
  );
  for (const name of ["port", "roles", "database_url", "amqp_url", "namespace", "datbase_url", "colour"]) {
    expect(message).toContain(name);
  }
  expect(message).not.toContain("hunter2");
});

test("variables of the daemons' own entry points and of the tests are not looked at", () => {
  expect(parseConfig({ LINKSPAN_DAEMON_BUS_URL: "x", LINKSPAN_TEST_RESULTS: "x" }, undefined).port).toBe(
    8_787,
  );
});

test("settings that do not go together are refused together", () => {
  const message = faultsOf(() =>
    parseConfig(
      {
        LINKSPAN_PROFILE: "production",
        LINKSPAN_SIGNATURES: "optional",
        LINKSPAN_ROLES: "api",
        LINKSPAN_AMQP_CERT: "cert.pem",
      },
      undefined,
    ),
  );
  expect(message.split("\n")).toHaveLength(6);
  for (const name of ["signatures:", "database_url:", "amqp_cert", "amqp_url", "api without core"]) {
    expect(message).toContain(name);
  }
});

test("media in S3 needs a bucket, and its key has two halves", () => {
  const message = faultsOf(() =>
    parseConfig({ LINKSPAN_MEDIA: "s3", LINKSPAN_MEDIA_S3_SECRET: "hunter2" }, undefined),
  );
  expect(message).toContain("media_s3_bucket");
  expect(message).toContain("media_s3_key_id and media_s3_secret");
  expect(message).not.toContain("hunter2");
  const env = {
    LINKSPAN_MEDIA: "s3",
    LINKSPAN_MEDIA_S3_BUCKET: "media",
    LINKSPAN_MEDIA_S3_KEY_ID: "id",
    LINKSPAN_MEDIA_S3_SECRET: "hunter2",
  };
  expect(JSON.stringify(redacted(parseConfig(env, undefined)))).not.toContain("hunter2");
});

test("what is no mapping is no configuration", () => {
  for (const file of ["port: 1", ["port"], 5]) {
    expect(faultsOf(() => parseConfig({}, file))).toContain("does not hold settings");
  }
});

test("a file of settings, and secrets in files of their own", () => {
  const directory = mkdtempSync(join(tmpdir(), "linkspan-config-"));
  try {
    const file = join(directory, "linkspan.yaml");
    const secret = join(directory, "database");
    writeFileSync(file, "port: 9000\nroles: [core, api]\n");
    writeFileSync(secret, "postgres://u:p@db/x\n");
    const env = { LINKSPAN_CONFIG: file, LINKSPAN_DATABASE_URL_FILE: secret };
    expect(readConfig(env)).toMatchObject({
      port: 9_000,
      roles: ["core", "api"],
      database_url: "postgres://u:p@db/x",
    });
    writeFileSync(file, "port: [");
    expect(faultsOf(() => readConfig(env))).toContain("is not YAML");
    expect(faultsOf(() => readConfig({ LINKSPAN_TOKEN_FILE: join(directory, "none") }))).toContain("none");
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test("what is shown has no secret in it", () => {
  const config = parseConfig(
    {
      LINKSPAN_DATABASE_URL: "postgres://u:hunter2@db/x?sslpassword=hunter2&host=%2Ftmp",
      LINKSPAN_AMQP_URL: "amqps://u:hunter2@mq/main",
      LINKSPAN_REDIS_URL: "redis://:hunter2@redis",
      LINKSPAN_TOKEN: "hunter2",
    },
    undefined,
  );
  const shown = redacted(config);
  expect(JSON.stringify(shown)).not.toContain("hunter2");
  expect(shown).toMatchObject({ port: 8_787, token: "[secret]" });
  expect(shown["database_url"]).toBe("postgres://u:secret@db/x?sslpassword=secret&host=%2Ftmp");
});

test(".env.example is current: npx node compose/src/generate.ts", () => {
  const committed = readFileSync(new URL("../../.env.example", import.meta.url), "utf8");
  expect(committed).toBe(envExample());
});

test(".env.example, taken as it is, is the default", () => {
  const env = Object.fromEntries(
    [...envExample().matchAll(/^# (LINKSPAN_[A-Z_]+)=(.*)$/gm)].map(([, name, value]) => [name ?? "", value]),
  );
  expect(Object.keys(env).length).toBeGreaterThan(15);
  expect(parseConfig(env, undefined)).toEqual(parseConfig({}, undefined));
});

test("proxies are addresses and ranges, and nothing else", () => {
  expect(parseConfig({ LINKSPAN_TRUST_PROXY: "10.0.0.0/8, ::1,192.0.2.1" }, undefined).trust_proxy).toEqual([
    "10.0.0.0/8",
    "::1",
    "192.0.2.1",
  ]);
  expect(parseConfig({}, { trust_proxy: ["fd00::/8"] }).trust_proxy).toEqual(["fd00::/8"]);
  for (const wrong of ["true", "*", "10.0.0.0/33", "proxy.example.net"]) {
    expect(() => parseConfig({ LINKSPAN_TRUST_PROXY: wrong }, undefined)).toThrow(/trust_proxy/);
  }
});

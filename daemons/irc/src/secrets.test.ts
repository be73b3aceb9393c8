/** A tenant's settings may fail its own identity and nothing else, and are refused by name before anything connects. */
import { generateKeyPairSync } from "node:crypto";
import { RecordingHost } from "@linkspan/daemon-kit/contract";
import { isFabricError } from "@linkspan/envelopes";
import { expect, test } from "vitest";
import { ircConnector } from "./connector.ts";
import { checkSecrets, keyedChannel, keyFieldOf } from "./secrets.ts";
import { Kept } from "./testing/kept.ts";
import { ScriptedServer } from "./testing/scripted-server.ts";

const fields = (secrets: Readonly<Record<string, string>>) => ({
  names: Object.keys(secrets),
  get: (name: string) => (secrets[name] === undefined ? undefined : Buffer.from(secrets[name])),
});

function faultsOf(secrets: Readonly<Record<string, string>>): string {
  try {
    checkSecrets(fields(secrets));
  } catch (error) {
    if (isFabricError(error) && error.code === "request.invalid") return error.message;
    throw error;
  }
  return "";
}

const key = generateKeyPairSync("ed25519").privateKey.export({ type: "pkcs8", format: "pem" }).toString();

test.each([
  ["server_password", "let me in\r\nQUIT :injected"],
  ["server_password", "a\nb"],
  ["server_password", "a\0b"],
  ["server_password", "x".repeat(500)],
  ["password", "a\rb"],
  ["password", "a\0b"],
  ["channel_key:#locked", "two words"],
  ["channel_key:#locked", "a,b"],
  ["channel_key:#locked", ":a"],
  ["channel_key:#locked", "a\r\nQUIT"],
  ["channel_key:#locked", "x".repeat(101)],
  ["channel_key:locked", "sesame"],
  ["channel_key:", "sesame"],
  ["certificate", "-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----"],
  ["certificate", "nonsense"],
  ["certificate_key", "nonsense"],
  ["certificate_key", key],
])("the credential %s %j is refused by its name, and its value is not repeated", (name, value) => {
  const faults = faultsOf({ [name]: value });
  expect(faults).toContain(name.startsWith("certificate") ? "certificate" : `${name}: `);
  expect(faults).not.toContain(value.slice(0, 20).trim() || "never");
});

test("all faults are named at once, and a value that IRC can carry is none", () => {
  expect(faultsOf({ server_password: "a\n", password: "b\0" })).toMatch(/server_password: .*; password: /);
  expect(
    faultsOf({
      server_password: ":with blanks and : colons",
      password: "grüße 🌉",
      "channel_key:#room": "sesame",
      unknown: "a\r\nb",
    }),
  ).toBe("");
});

test("the key of a channel is a field of its own, whatever the channel is called", () => {
  for (const channel of ["#room", "&local", "#caf\u00e9", "#100%", "#a:b", "+x"]) {
    const field = keyFieldOf(channel);
    expect(field).toMatch(/^channel_key:[!-~]+$/);
    expect(keyedChannel(field)).toBe(channel);
  }
  expect(keyedChannel("channel_key:#50%")).toBe("#50%");
  expect(keyedChannel("password")).toBeUndefined();
});

test("a link with a server password of two lines is a refusal that names it, and nothing is connected", async () => {
  await using server = await ScriptedServer.listen();
  const bad = { port: server.port, secrets: { server_password: "let me in\r\nQUIT :injected" } };
  await expect(Kept.link(bad)).rejects.toMatchObject({
    code: "request.invalid",
    message: expect.stringContaining("server_password") as string,
  });
  await expect(Kept.open(bad)).rejects.toMatchObject({ code: "request.invalid" });
  expect(server.clients).toHaveLength(0);
});

test("a credential that becomes unwritable while it is kept fails its own identity, and others do not notice", async () => {
  await using server = await ScriptedServer.listen();
  await using other = await Kept.open({ port: server.port });
  await other.becomes("connected");
  const host = new RecordingHost();
  let asked = 0;
  const names = ["server_password"];
  // Good when it is checked, and another when the lease was taken anew.
  const get = (name: string) => {
    if (name !== "server_password") return undefined;
    asked += 1;
    return Buffer.from(asked === 1 ? "good" : "good\r\nQUIT :injected");
  };
  Object.defineProperty(host, "secrets", { value: { names, get } });
  const settings = { network: "testnet", host: "127.0.0.1", port: server.port, tls: false, nick: "bob" };
  const identity = {
    identityId: "id-2",
    workspaceId: "ws",
    userId: "u",
    home: "primary",
    checkpoint: undefined,
  };
  const connector = ircConnector({ privateHosts: true });
  await using connection = await connector.open({ ...identity, settings }, host);
  expect(connection).toBeDefined();
  await expect
    .poll(() => host.states.at(-1))
    .toMatchObject({ state: "unknown_error", code: "request.invalid" });
  expect(server.client.lines.join("\n")).not.toContain("QUIT");
  await other.say("undisturbed");
});

test("a fault in a timer ends its own connection with a code, and the kit, which is notified, opens it again", async () => {
  await using server = await ScriptedServer.listen({
    // Services that never answer, so that a timer asks them again.
    on: (line) => line.startsWith("PRIVMSG NickServ"),
  });
  await using kept = await Kept.open({
    port: server.port,
    settings: { nickserv: {} },
    secrets: { password: "sesame" },
    connector: { patience: { identifyMs: 20, identifyAgainMs: 50 } },
  });
  await kept.becomes("connected");
  const { secrets } = kept.host;
  const fault = new TypeError("a fault of ours");
  const get = () => {
    throw fault;
  };
  Object.defineProperty(kept.host, "secrets", { value: { names: secrets.names, get } });
  await expect.poll(() => kept.host.failures).toEqual([fault]);
  await expect
    .poll(() => kept.host.states.at(-1))
    .toMatchObject({ state: "unknown_error", code: "internal" });
});

test("a fault while it connects again is reported to the kit, too", async () => {
  await using server = await ScriptedServer.listen();
  await using kept = await Kept.open({ port: server.port, secrets: { server_password: "sesame" } });
  await kept.becomes("connected");
  const fault = new TypeError("a fault of ours");
  const get = () => {
    throw fault;
  };
  Object.defineProperty(kept.host, "secrets", { value: { names: ["server_password"], get } });
  server.client.drop();
  await expect.poll(() => kept.host.failures).toEqual([fault]);
  expect(kept.host.states.at(-1)).toMatchObject({ state: "unknown_error", code: "internal" });
});

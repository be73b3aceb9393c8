import { mkdtemp, rm, stat, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fromBase64url, thumbprint } from "@linkspan/envelopes";
import { afterEach, beforeEach, expect, test } from "vitest";
import { enrol } from "./enrolment.ts";
import { readKeyFile } from "./key-file.ts";

const CORE = {
  kid: "xa2Kn6WRb7bnQ7Zg1oPGd1n3hJGDaqyRQZsZr0hZl7A",
  public_key_b64u: "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
  issuers: ["core"],
  purposes: ["envelope", "ticket"],
  services: ["*"],
  workspaces: ["*"],
  not_before: "2020-01-01T00:00:00.000Z",
  not_after: "2099-01-01T00:00:00.000Z",
} as const;

let directory: string;
let server: Server;
let answer: (body: Readonly<Record<string, string>>) => readonly [number, unknown];

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "enrolment-"));
  server = createServer((request, response) => {
    let text = "";
    request.on("data", (chunk: Buffer) => {
      text += chunk.toString();
    });
    request.on("end", () => {
      const [status, body] = answer(JSON.parse(text) as Record<string, string>);
      response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
});

afterEach(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  await rm(directory, { recursive: true });
});

function options() {
  const { port } = server.address() as AddressInfo;
  return { coreUrl: `http://127.0.0.1:${port}`, token: "once", keyFile: join(directory, "keys.json") };
}

function registered(body: Readonly<Record<string, string>>) {
  const kid = thumbprint(fromBase64url(body.public_key_b64u ?? "") ?? new Uint8Array());
  return [201, { kid, core_keys: [CORE], partitions: 8, generation: 3 }] as const;
}

test("registers fresh public keys with the token, pins the core's, and keeps it all to itself", async () => {
  const bodies: unknown[] = [];
  answer = (body) => {
    bodies.push(body);
    return registered(body);
  };
  const keys = await enrol(options());
  expect(keys).toMatchObject({ partitions: 8, generation: 3, coreKeys: [{ kid: CORE.kid }] });
  expect(Object.keys(bodies[0] as object).sort()).toEqual(["public_key_b64u", "seal_b64u", "token"]);
  expect((await stat(options().keyFile)).mode & 0o777).toBe(0o600);
  const again = await readKeyFile(options().keyFile);
  expect(again?.signer.kid).toBe(keys.signer.kid);
  expect(again?.sealKeys.publicKey).toEqual(keys.sealKeys.publicKey);
});

test("a refusal carries the core's code, and leaves no file", async () => {
  answer = () => [403, { code: "request.forbidden", detail: "this token was used" }];
  await expect(enrol(options())).rejects.toMatchObject({ code: "request.forbidden" });
  expect(await readKeyFile(options().keyFile)).toBeUndefined();
});

test("another core than the one that was shown is not pinned", async () => {
  answer = registered;
  await expect(enrol({ ...options(), coreKid: "another" })).rejects.toMatchObject({
    code: "envelope.unknown_key",
  });
  expect(await readKeyFile(options().keyFile)).toBeUndefined();
});

test("no core, or one that is not understood, is told apart", async () => {
  answer = () => [200, { hello: "world" }];
  await expect(enrol(options())).rejects.toMatchObject({ code: "request.invalid" });
  await expect(enrol({ ...options(), coreUrl: "http://127.0.0.1:1" })).rejects.toMatchObject({
    code: "bus.unavailable",
  });
});

test("a key file that others may read, or that is none, is refused", async () => {
  const path = join(directory, "other.json");
  await writeFile(path, "{}", { mode: 0o644 });
  await expect(readKeyFile(path)).rejects.toThrow(/chmod 600/);
  await writeFile(join(directory, "private.json"), "{}", { mode: 0o600 });
  await expect(readKeyFile(join(directory, "private.json"))).rejects.toThrow(/is no key file: .*seed_b64u/);
});

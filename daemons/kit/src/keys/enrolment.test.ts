import { mkdtemp, rm, stat, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  enrolmentToken,
  fromBase64url,
  type KeyRecord,
  type Signer,
  signEnrolment,
  signerFromSeed,
  thumbprint,
  toBase64url,
} from "@linkspan/envelopes";
import { afterEach, beforeEach, expect, test } from "vitest";
import { enrol } from "./enrolment.ts";
import { readKeyFile } from "./key-file.ts";

const core = signerFromSeed(new Uint8Array(32).fill(1));
const other = signerFromSeed(new Uint8Array(32).fill(2));
const TOKEN = enrolmentToken("s".repeat(43), core.kid);

function recordOf({ kid, publicKey }: Signer): KeyRecord {
  return {
    kid,
    public_key_b64u: toBase64url(publicKey),
    issuers: ["core"],
    purposes: ["envelope", "ticket"],
    services: ["*"],
    workspaces: ["*"],
    not_before: "2020-01-01T00:00:00.000Z",
    not_after: "2099-01-01T00:00:00.000Z",
  };
}

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
  return { coreUrl: `http://127.0.0.1:${port}`, token: TOKEN, keyFile: join(directory, "keys.json") };
}

/** Answers like a core that has `keys` and signs with the first of them. */
function answerOf(body: Readonly<Record<string, string>>, keys: readonly [Signer, ...Signer[]] = [core]) {
  const kid = thumbprint(fromBase64url(body.public_key_b64u ?? "") ?? new Uint8Array());
  const told = { kid, core_keys: keys.map(recordOf), partitions: 8, generation: 3 };
  return { ...told, sig: signEnrolment(told, keys[0]) };
}

test("registers fresh public keys with the token, pins the core's, and keeps it all to itself", async () => {
  const bodies: unknown[] = [];
  answer = (body) => {
    bodies.push(body);
    return [201, answerOf(body)];
  };
  const keys = await enrol(options());
  expect(keys).toMatchObject({ partitions: 8, generation: 3, coreKeys: [{ kid: core.kid }] });
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

type Body = Readonly<Record<string, string>>;

/** A wrong core, and an attacker between daemon and core who changes the answer of the right one. */
const WRONG: readonly (readonly [string, (body: Body) => object, string])[] = [
  ["another core", (body) => answerOf(body, [other]), "envelope.unknown_key"],
  [
    "one that says it has the core's key too",
    (body) => answerOf(body, [other, core]),
    "envelope.bad_signature",
  ],
  [
    "one in between that puts its own key beside the core's",
    (body) => ({ ...answerOf(body), core_keys: [core, other].map(recordOf) }),
    "envelope.bad_signature",
  ],
  [
    "one in between that registered a key of its own",
    (body) => {
      const theirs = answerOf({ ...body, public_key_b64u: toBase64url(other.publicKey) });
      return { ...theirs, kid: answerOf(body).kid };
    },
    "envelope.bad_signature",
  ],
  ["one that does not sign", (body) => ({ ...answerOf(body), sig: "" }), "envelope.bad_signature"],
];

test.each(WRONG)("only the token's core is pinned: %s is refused", async (_what, wrong, code) => {
  answer = (body) => [201, wrong(body)];
  await expect(enrol(options())).rejects.toMatchObject({ code });
  expect(await readKeyFile(options().keyFile)).toBeUndefined();
});

test("a token that names no core is not sent to whoever answers", async () => {
  let asked = 0;
  answer = (body) => {
    asked += 1;
    return [201, answerOf(body)];
  };
  const token = `lse_${"s".repeat(43)}`;
  await expect(enrol({ ...options(), token })).rejects.toMatchObject({ code: "request.invalid" });
  expect(asked).toBe(0);
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

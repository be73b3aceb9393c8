/** Which keys a daemon starts with: those of its file, or new ones when an operator gave it another token. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  enrolmentToken,
  fromBase64url,
  signEnrolment,
  signerFromSeed,
  thumbprint,
  toBase64url,
} from "@linkspan/envelopes";
import { pino } from "pino";
import { afterEach, beforeEach, expect, test } from "vitest";
import { DaemonConfigSchema } from "../config.ts";
import { readKeyFile } from "../keys/key-file.ts";
import { keysFor } from "./start.ts";

const core = signerFromSeed(new Uint8Array(32).fill(1));
const log = pino({ level: "silent" });
const never = new AbortController().signal;
const tokenOf = (letter: string) => enrolmentToken(letter.repeat(43), core.kid);

let directory: string;
let server: Server;
let good: ReadonlySet<string>;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "start-"));
  server = createServer((request, response) => {
    let text = "";
    request.on("data", (chunk: Buffer) => (text += chunk.toString()));
    request.on("end", () => {
      const body = JSON.parse(text) as { token: string; public_key_b64u: string };
      const [status, answer] = good.has(body.token) ? [201, enrolled(body.public_key_b64u)] : [401, REFUSED];
      response.writeHead(status).end(JSON.stringify(answer));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
});
afterEach(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  await rm(directory, { recursive: true });
});

const REFUSED = { code: "request.unauthorized", detail: "used" };

function enrolled(publicKey: string) {
  const record = {
    kid: core.kid,
    public_key_b64u: toBase64url(core.publicKey),
    issuers: ["core"],
    purposes: ["envelope" as const],
    services: ["*"],
    workspaces: ["*"],
    not_before: "2020-01-01T00:00:00.000Z",
    not_after: "2099-01-01T00:00:00.000Z",
  };
  const kid = thumbprint(fromBase64url(publicKey) ?? new Uint8Array());
  const told = { kid, core_keys: [record], partitions: 8, generation: 1 };
  return { ...told, sig: signEnrolment(told, core) };
}

/** Starts with this token in the file. @returns the id of the key in use */
async function startWith(token: string): Promise<string> {
  const enrolTokenFile = join(directory, "token");
  await writeFile(enrolTokenFile, `${token}\n`);
  const config = DaemonConfigSchema.parse({
    busUrl: "amqp://127.0.0.1",
    keyFile: join(directory, "keys.json"),
    coreUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    enrolTokenFile,
  });
  const { signer } = await keysFor(config, log, never);
  expect((await readKeyFile(config.keyFile))?.signer.kid).toBe(signer.kid);
  return signer.kid;
}

test("another token is a rotation: the keys are replaced, once", async () => {
  good = new Set([tokenOf("a"), tokenOf("b")]);
  const first = await startWith(tokenOf("a"));
  good = new Set([tokenOf("b")]);
  expect(await startWith(tokenOf("a"))).toBe(first);
  const second = await startWith(tokenOf("b"));
  expect(second).not.toBe(first);
  good = new Set();
  expect(await startWith(tokenOf("b"))).toBe(second);
});

test("a token that is not good, or a core that is away, leaves the keys as they are", async () => {
  good = new Set([tokenOf("a")]);
  const first = await startWith(tokenOf("a"));
  good = new Set();
  expect(await startWith(tokenOf("b"))).toBe(first);
  expect(await startWith("no token at all")).toBe(first);
});

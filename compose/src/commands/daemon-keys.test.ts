import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FabricError } from "@linkspan/envelopes";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { Client } from "../client.ts";
import { outputTo } from "../output.ts";
import { enrolDaemon, rotateKey } from "./daemon-keys.ts";

let directory: string;
let file: string;
let asked: string[];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "linkspan-keys-"));
  file = join(directory, "token");
  asked = [];
});
afterEach(() => rmSync(directory, { recursive: true }));

function clientThat(answers: () => object): Client {
  const send = (_method: string, path: string) => {
    asked.push(path);
    return Promise.resolve().then(answers);
  };
  return { url: "", workspace: undefined, send, get: send, stream: () => [] } as unknown as Client;
}

const issued = () => ({ token: "lse_x.y", core_kid: "y", expires_at: "2026-01-01T00:00:00.000Z" });
const quiet = outputTo({ write: () => true } as unknown as NodeJS.WriteStream, process.stderr, true);

const ISSUERS = [
  [
    "enrol",
    (client: Client, tokenFile: string) =>
      enrolDaemon(client, quiet, { service: "irc", instance: "eu-1", tokenFile }),
  ],
  ["rotate", (client: Client, tokenFile: string) => rotateKey(client, quiet, "kid", { grace: 0, tokenFile })],
] as const;

test.each(ISSUERS)("no token is issued that its owner cannot get: %s, to a file", async (_, issue) => {
  const client = clientThat(issued);
  writeFileSync(file, "kept");
  await expect(issue(client, file)).rejects.toMatchObject({
    code: "request.invalid",
    message: `${file} exists; remove it, or name another file`,
  });
  await expect(issue(client, join(directory, "none", "token"))).rejects.toMatchObject({
    code: "request.invalid",
  });
  expect([asked, readFileSync(file, "utf8")]).toEqual([[], "kept"]);
});

test.each(ISSUERS)("a refusal leaves no file, and a token is its owner's alone: %s", async (_, issue) => {
  const refusing = clientThat(() => {
    throw new FabricError("request.forbidden", "no");
  });
  await expect(issue(refusing, file)).rejects.toMatchObject({ code: "request.forbidden" });
  expect(existsSync(file)).toBe(false);
  await issue(clientThat(issued), file);
  expect([readFileSync(file, "utf8"), statSync(file).mode & 0o077]).toEqual(["lse_x.y\n", 0]);
});

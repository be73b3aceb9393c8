/** `linkspan envelope …` as processes; each vector goes through the filters in `compose/src/commands/envelope.test.ts`. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { linkspan, ROOT } from "./linkspan.ts";

vi.setConfig({ testTimeout: 60_000 });

interface Valid {
  readonly message_id: string;
  readonly topic: string;
  readonly envelope: unknown;
  readonly body_b64: string;
  readonly kid: string;
}

const VECTORS = join(ROOT, "envelopes/vectors");
const KEYS = join(VECTORS, "keys.json");
const AT = "2026-11-20T12:00:00.000Z";

const valid = readFileSync(join(VECTORS, "envelope-valid.jsonl"), "utf8")
  .trimEnd()
  .split("\n")
  .map((line) => JSON.parse(line) as Valid);

let directory: string;
let seed: string;

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "linkspan-filters-"));
  seed = join(directory, "seed");
  const seeds = JSON.parse(readFileSync(join(VECTORS, "seeds.json"), "utf8")) as { daemon_seed_hex: string };
  writeFileSync(seed, `${seeds.daemon_seed_hex}\n`);
});
afterAll(() => rmSync(directory, { recursive: true }));

const filter = (args: readonly string[], input: readonly string[]) =>
  linkspan(["envelope", ...args], { input: input.map((line) => `${line}\n`).join("") });

test("canonical prints the canonical form of each line", async () => {
  const done = await filter(
    ["canonical"],
    valid.map(({ envelope }) => JSON.stringify(envelope)),
  );
  expect(done.lines).toEqual(
    valid.map(({ body_b64 }) => Buffer.from(body_b64, "base64url").toString("utf8")),
  );
  expect(done.code).toBe(0);
});

test("what sign prints is what verify takes, and the exit code tells whether each line passed", async () => {
  const signed = await filter(
    ["sign", "--seed", seed],
    valid.map(({ envelope }) => JSON.stringify(envelope)),
  );
  expect(signed.code).toBe(0);
  const ok = valid.map(({ kid, message_id }) => `ok ${kid} ${message_id}`);
  const all = await filter(["verify", "--keys", KEYS, "--at", AT], signed.lines);
  expect([all.code, all.lines]).toEqual([0, ok]);

  const [{ topic }] = valid as [Valid];
  const [first = ""] = signed.lines;
  const elsewhere = await filter(
    ["verify", "--keys", KEYS, "--at", AT, "--topic", topic],
    [first, first.replace(/"payload":"../, '"payload":"AA'), first],
  );
  expect(elsewhere.lines).toEqual([ok[0], expect.stringMatching(/^envelope\.bad_signature ./), ok[0]]);
  expect(elsewhere.code).toBe(1);
});

test("with --json each answer is an object", async () => {
  const done = await linkspan(["envelope", "id", "--json"], { input: '["note","core","changed","1"]\n{\n' });
  expect(done.lines.map((line) => JSON.parse(line) as unknown)).toEqual([
    { message_id: expect.any(String) as string, trace_id: expect.any(String) as string },
    { ok: false, code: "envelope.malformed", detail: expect.any(String) as string },
  ]);
});

test("files that are not what they should be are refused without a stack", async () => {
  const odd = join(directory, "odd");
  writeFileSync(odd, "not hexadecimal");
  for (const args of [
    ["sign", "--seed", odd],
    ["verify", "--keys", KEYS, "--at", "yesterday"],
  ]) {
    const done = await filter(args, ["{}"]);
    expect([args, done.code, done.lines]).toEqual([args, 1, []]);
    expect(done.stderr).not.toContain("    at ");
  }
});

test("a line of 1.5 MB passes, and answers come while the input is still open", async () => {
  const child = spawn(join(ROOT, "compose/bin/linkspan"), ["envelope", "canonical"], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const long = JSON.stringify({ text: "x".repeat(1_500_000) });
  child.stdin.write(`${long}\n`);
  let seen = "";
  for await (const chunk of child.stdout) {
    seen += String(chunk);
    if (seen.endsWith("\n")) break;
  }
  expect(seen).toBe(`${long}\n`);
  child.stdin.end();
  if (child.exitCode === null) await once(child, "close");
  expect(child.exitCode).toBe(0);
});

test("it ends without a word when nobody reads on", async () => {
  const child = spawn(join(ROOT, "compose/bin/linkspan"), ["envelope", "canonical"]);
  let complaints = "";
  child.stderr.on("data", (chunk: Buffer) => (complaints += chunk.toString()));
  child.stdin.on("error", () => undefined); // that it ended is what is looked for
  child.stdout.once("data", () => child.stdout.destroy());
  const write = () => {
    while (!child.stdin.destroyed && child.stdin.write(`{"text":"${"x".repeat(10_000)}"}\n`));
    if (!child.stdin.destroyed) child.stdin.once("drain", write);
  };
  write();
  await once(child, "exit");
  expect(complaints).toBe("");
});

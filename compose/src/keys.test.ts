import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { KeyRing } from "@linkspan/envelopes";
import { afterEach, beforeEach, expect, test } from "vitest";
import { ownRecord, parseSeed, seedFile, signerFile } from "./keys.ts";

let data: string;
beforeEach(() => {
  data = mkdtempSync(join(tmpdir(), "linkspan-keys-"));
});
afterEach(() => rmSync(data, { recursive: true }));

test("a seed is drawn once; all who start at once get the same, and no draft is left", async () => {
  const seeds = await Promise.all(Array.from({ length: 8 }, () => seedFile(data, "daemons/irc.seed")));
  expect(new Set(seeds.map((seed) => Buffer.from(seed).toString("hex"))).size).toBe(1);
  expect(await seedFile(data, "daemons/irc.seed")).toEqual(seeds[0]);
  expect(readdirSync(join(data, "daemons"))).toEqual(["irc.seed"]);
  expect(statSync(join(data, "daemons/irc.seed")).mode & 0o777).toBe(0o600);
  expect(statSync(join(data, "daemons")).mode & 0o777).toBe(0o700);
});

test("a file that holds no seed is refused and kept", async () => {
  for (const text of ["", "00", "g".repeat(64), "0".repeat(65)]) {
    writeFileSync(join(data, "core.seed"), text);
    await expect(seedFile(data, "core.seed")).rejects.toMatchObject({ code: "request.invalid" });
    expect(readFileSync(join(data, "core.seed"), "utf8")).toBe(text);
  }
  expect(parseSeed(` ${"0f".repeat(32)}\r\n`, "x")).toEqual(Buffer.alloc(32, 0x0f));
});

test("the record of an own key is one that a key ring takes, in force now", async () => {
  const signer = await signerFile(data, "core.seed");
  const holder = { issuers: ["core"], purposes: ["envelope" as const], services: ["*"] };
  const now = new Date("2026-11-20T12:00:00.000Z");
  const key = new KeyRing([ownRecord(signer, holder, now)]).get(signer.kid);
  expect(key?.notBeforeMs).toBeLessThan(now.getTime());
  expect(key?.notAfterMs).toBeGreaterThan(now.getTime());
});

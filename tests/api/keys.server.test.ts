/** Keys of daemons: listed, revoked, replaced, and so in every process within a second. */
import { randomBytes } from "node:crypto";
import {
  coreKidOf,
  generateSealKeys,
  KeyRing,
  proveEnrolment,
  signerFromSeed,
  toBase64url,
} from "@linkspan/envelopes";
import { auditTrail, claimLease, currentLease, keyRecords, saveKeyRecord } from "@linkspan/store";
import { type Core, followKeys, Wakes } from "@linkspan/worker";
import { expect, test } from "vitest";
import { until } from "../servers/until.ts";
import { describeApi } from "./api-world.ts";

interface Issued {
  readonly token: string;
  readonly core_kid: string;
  readonly service: string;
  readonly instance: string;
  readonly code?: string;
}
interface Enrolled {
  readonly kid: string;
  readonly core_keys: Parameters<typeof proveEnrolment>[0]["core_keys"];
  readonly partitions: number;
  readonly generation: number;
  readonly sig: string;
  readonly code?: string;
}
interface Key {
  readonly kid: string;
  readonly state: string;
  readonly issuers: readonly string[];
}

describeApi("keys over HTTP", {}, (api) => {
  const issue = (instance: string) =>
    api.world.ask<Issued>("POST", "/v1/enrolment-tokens", {
      as: api.world.owner,
      body: { service: "irc", instance },
    });
  async function enrol(token: string, publicKey = signerFromSeed(randomBytes(32)).publicKey) {
    const seal_b64u = toBase64url((await generateSealKeys()).publicKey);
    const body = { token, public_key_b64u: toBase64url(publicKey), seal_b64u };
    return api.world.ask<Enrolled>("POST", "/v1/enrolments", { body });
  }
  const enrolled = async (instance: string) => (await enrol((await issue(instance)).body.token)).body;
  const revoke = (kid: string, as = api.world.owner) =>
    api.world.ask<{ code: string }>("POST", `/v1/keys/${kid}/revoke`, { as, body: { why: "lost" } });
  const rotate = (kid: string, grace_s = 0, as = api.world.owner) =>
    api.world.ask<Issued>("POST", `/v1/keys/${kid}/rotate`, { as, body: { grace_s } });
  async function list(limit = 2): Promise<Key[]> {
    const all: Key[] = [];
    for (let after: string | undefined = ""; after !== undefined; ) {
      const query: string = after === "" ? "" : `&after=${after}`;
      const page = await api.world.ask<{ keys: Key[]; next_after?: string }>(
        "GET",
        `/v1/keys?limit=${limit}${query}`,
        {
          as: api.world.owner,
        },
      );
      all.push(...page.body.keys);
      after = page.body.next_after;
    }
    return all;
  }
  const stateOf = async (kid: string) => (await list()).find((key) => key.kid === kid)?.state;

  test("the token names the core's key, and the core's answer is proven with it", async () => {
    const { token, core_kid } = (await issue("pinned")).body;
    expect(coreKidOf(token)).toBe(core_kid);
    const { body } = await enrol(token);
    expect(() => proveEnrolment(body, body.sig, core_kid)).not.toThrow();
  });

  test("a token that is not good is refused before any arithmetic on the keys", async () => {
    const smallOrder = Uint8Array.of(1, ...new Uint8Array(31));
    const { token } = (await issue("bad")).body;
    const swapped = token.replace(/.$/, token.endsWith("A") ? "B" : "A");
    for (const bad of [
      "",
      "lse_",
      swapped,
      token.replace("lse_", "lse_x"),
      `lse_${"x".repeat(43)}.${token.slice(-43)}`,
    ]) {
      const answer = await enrol(bad, smallOrder);
      expect([answer.status, answer.body.code], bad).toEqual([401, "request.unauthorized"]);
    }
    expect((await enrol(token, smallOrder)).body.code).toBe("envelope.unknown_key");
  });

  test("keys are listed in pages, for who answers for all workspaces", async () => {
    const { kid } = await enrolled("listed");
    const all = await list();
    expect(all.find((key) => key.kid === kid)).toMatchObject({
      state: "in_force",
      issuers: ["daemon:irc:listed"],
    });
    expect(new Set(all.map((key) => key.kid)).size).toBe(all.length);
    const bound = await api.world.token("boss", "owner");
    for (const answer of [
      await api.world.ask("GET", "/v1/keys", { as: bound }),
      await revoke(kid, bound),
      await rotate(kid, 0, bound),
      await revoke(kid, await api.world.token("op", "operator", "*")),
    ]) {
      expect(answer.status).toBe(403);
    }
    expect(await stateOf(kid)).toBe("in_force");
  });

  test("a revoked key is out of force in every process within a second, also where NOTIFY is lost", async () => {
    const { kid } = await enrolled("revoked");
    const pool = api.world.core.database.pool;
    await claimLease(pool, { service: "irc", instance: "revoked", holder: "boot", kid, ttlMs: 60_000 });
    // Another process that hears nothing: its wake-ups are not connected to the database.
    const deaf: Core = { ...api.world.core, keys: new KeyRing(await keyRecords(pool)), wakes: new Wakes() };
    const stop = new AbortController();
    followKeys(deaf, stop.signal);
    const begun = performance.now();
    expect((await revoke(kid)).status).toBe(204);
    expect(api.world.core.keys.get(kid)?.record.revoked_at).toBeDefined();
    await until(() => deaf.keys.get(kid)?.record.revoked_at !== undefined, { what: "the other process" });
    const tookMs = performance.now() - begun;
    stop.abort();
    expect(tookMs).toBeLessThan(3_000);
    expect((await currentLease(pool, "irc", "revoked"))?.live).toBe(false);
    expect(await stateOf(kid)).toBe("revoked");
    const trail = await auditTrail(pool, { workspaceId: "_", subject: kid, limit: 5 });
    expect(trail[0]).toMatchObject({
      action: "daemon.key_revoked",
      actor: "token:root",
      detail: { why: "lost" },
    });
  });

  test("a revoked key stays revoked: neither registering nor enrolling it again brings it back", async () => {
    const signer = signerFromSeed(randomBytes(32));
    await enrol((await issue("again")).body.token, signer.publicKey);
    const record = api.world.core.keys.get(signer.kid)?.record;
    await revoke(signer.kid);
    if (record === undefined) throw new Error("the key was not registered");
    await saveKeyRecord(api.world.core.database.pool, record);
    expect(await stateOf(signer.kid)).toBe("revoked");
    expect((await enrol((await issue("again")).body.token, signer.publicKey)).status).toBe(400);
    expect((await revoke(signer.kid)).status).toBe(204);
  });

  test("a key is replaced by the next, at once or after its grace", async () => {
    const first = await enrolled("rotated");
    const { token, service, instance } = (await rotate(first.kid)).body;
    expect([service, instance]).toEqual(["irc", "rotated"]);
    expect(await stateOf(first.kid)).toBe("in_force");
    const second = (await enrol(token)).body;
    expect(api.world.core.keys.get(second.kid)?.record.issuers).toEqual(["daemon:irc:rotated"]);
    expect([await stateOf(first.kid), await stateOf(second.kid)]).toEqual(["run_out", "in_force"]);
    expect((await enrol(token)).status).toBe(401);

    const third = (await enrol((await rotate(second.kid, 3_600)).body.token)).body;
    expect([await stateOf(second.kid), await stateOf(third.kid)]).toEqual(["in_force", "in_force"]);
    const ends = Date.parse(api.world.core.keys.get(second.kid)?.record.not_after ?? "");
    expect(ends - Date.now()).toBeLessThanOrEqual(3_600_000);
    const trail = await auditTrail(api.world.core.database.pool, {
      workspaceId: "_",
      subject: third.kid,
      limit: 5,
    });
    expect(trail[0]).toMatchObject({ action: "daemon.key_rotated", detail: { replaces: second.kid } });
  });

  test("the core's own key is neither revoked nor replaced here, and an unknown one is not found", async () => {
    const { kid } = api.world.core.signer;
    expect([(await revoke(kid)).status, (await rotate(kid)).status]).toEqual([403, 403]);
    const unknown = "u".repeat(43);
    expect([(await revoke(unknown)).status, (await rotate(unknown)).status]).toEqual([404, 404]);
  });
});

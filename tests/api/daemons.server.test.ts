/** What operators do with daemons: enrol them, switch them, look after what they sent. */
import { randomBytes } from "node:crypto";
import { generateSealKeys, signerFromSeed, toBase64url } from "@linkspan/envelopes";
import { auditTrail, quarantine, quarantined } from "@linkspan/store";
import { expect, test } from "vitest";
import { describeApi } from "./api-world.ts";

interface Problem {
  readonly code: string;
}
interface Issued extends Problem {
  readonly token: string;
  readonly core_kid: string;
}
interface Enrolled extends Problem {
  readonly kid: string;
  readonly core_keys: { readonly kid: string; readonly issuers: string[] }[];
  readonly partitions: number;
  readonly generation: number;
}

describeApi("daemons over HTTP", {}, (api) => {
  const issue = (as = api.world.owner) =>
    api.world.ask<Issued>("POST", "/v1/enrolment-tokens", {
      as,
      body: { service: "irc", instance: "libera" },
    });
  const enrol = (body: object) => api.world.ask<Enrolled>("POST", "/v1/enrolments", { body });
  const keys = async () => ({
    public_key_b64u: toBase64url(signerFromSeed(randomBytes(32)).publicKey),
    seal_b64u: toBase64url((await generateSealKeys()).publicKey),
  });

  test("a one-time token registers one daemon's keys, in force at once", async () => {
    const { token, core_kid } = (await issue()).body;
    const answer = await enrol({ token, ...(await keys()) });

    expect(answer.status).toBe(201);
    expect(answer.body.core_keys.map((key) => key.kid)).toEqual([core_kid]);
    expect(answer.body).toMatchObject({ partitions: 8, generation: 1 });
    const record = api.world.core.keys.get(answer.body.kid)?.record;
    expect(record).toMatchObject({
      issuers: ["daemon:irc:libera"],
      services: ["irc"],
      workspaces: ["*"],
      purposes: ["envelope"],
    });
    expect((await enrol({ token, ...(await keys()) })).status).toBe(401);
    const trail = await auditTrail(api.world.core.database.pool, { workspaceId: "_", limit: 10 });
    expect(trail.map((entry) => entry.action)).toEqual(["daemon.enrolled", "enrolment.issued"]);
  });

  test("a key that is weak, or known already, is refused, and the token stays good", async () => {
    const { token } = (await issue()).body;
    const good = await keys();
    const identityPoint = toBase64url(Uint8Array.of(1, ...new Uint8Array(31)));
    const weak = await enrol({ token, ...good, public_key_b64u: identityPoint });
    expect(weak.body.code).toBe("envelope.unknown_key");
    const zero = await enrol({ token, ...good, seal_b64u: toBase64url(new Uint8Array(32)) });
    expect(zero.body.code).toBe("envelope.unknown_key");
    const core = api.world.core.signer.publicKey;
    const stolen = await enrol({ token, ...good, public_key_b64u: toBase64url(core) });
    expect(stolen.body.code).toBe("request.invalid");
    expect(api.world.core.keys.get(api.world.core.signer.kid)?.record.issuers).toEqual(["core"]);

    expect((await enrol({ token, ...good })).status).toBe(201);
  });

  test("only who answers for all workspaces lets a daemon in", async () => {
    expect((await issue(await api.world.token("owner", "owner"))).status).toBe(403);
    expect((await issue(await api.world.token("op", "operator", "*"))).status).toBe(403);
    const core = await api.world.ask("POST", "/v1/enrolment-tokens", {
      as: api.world.owner,
      body: { service: "core" },
    });
    expect(core.status).toBe(400);
    expect((await enrol({ token: api.world.owner, ...(await keys()) })).status).toBe(401);
  });

  test("a connector is switched for a workspace or for all, with who and why", async () => {
    interface Switch extends Problem {
      readonly enabled: boolean;
      readonly flags: { workspace_id: string; who: string; why: string }[];
    }
    const operator = await api.world.token("night", "operator", "switched");
    const put = (as: string, service: string, enabled: boolean) =>
      api.world.ask<Switch>("PUT", `/v1/connectors/${service}`, { as, body: { enabled, why: "tested" } });
    const get = async (as: string, service: string) =>
      (await api.world.ask<Switch>("GET", `/v1/connectors/${service}`, { as })).body;

    expect(await get(operator, "irc")).toEqual({ service: "irc", enabled: true, flags: [] });
    const off = await put(operator, "irc", false);
    expect(off.body.flags).toMatchObject([{ workspace_id: "switched", who: "token:night", why: "tested" }]);
    expect((await get(operator, "irc")).enabled).toBe(false);
    expect((await get(await api.world.token("other", "operator", "not-switched"), "irc")).enabled).toBe(true);

    await put(api.world.owner, "*", false);
    expect((await put(operator, "irc", true)).body.enabled).toBe(false);
    expect((await put(operator, "*", true)).status).toBe(403);
    await put(api.world.owner, "*", true);
    expect((await get(operator, "irc")).enabled).toBe(true);
    for (const none of ["core", "vault", "No", "n".repeat(33)])
      expect((await put(operator, none, true)).status).toBe(400);
  });

  test("what was refused is listed, shown with its bytes, published again or dropped", async () => {
    const pool = api.world.core.database.pool;
    const body = Buffer.from('{"not":"canonical" }');
    const refused = {
      code: "envelope.not_canonical",
      detail: "blanks",
      routingKey: "irc._.inbound_event.p00",
      issuer: "daemon:irc:primary",
      workspaceId: "acme",
      messageId: undefined,
      kid: "a-kid",
      sig: "a-sig",
      body,
    };
    const id = await quarantine(pool, refused);
    const nobodys = await quarantine(pool, {
      ...refused,
      workspaceId: undefined,
      code: "envelope.malformed",
    });
    const operator = await api.world.token("desk", "operator", "acme");
    const rival = await api.world.token("desk", "operator", "rival");
    const list = async (as: string, query = "") =>
      (
        await api.world.ask<{ entries: { id: string }[] }>("GET", `/v1/quarantine${query}`, { as })
      ).body.entries.map((entry) => entry.id);

    expect(await list(operator)).toEqual([id]);
    expect(await list(rival)).toEqual([]);
    expect(await list(api.world.owner)).toEqual([nobodys, id]);
    expect(await list(api.world.owner, "?code=envelope.malformed")).toEqual([nobodys]);

    const shown = await api.world.ask<{ dsse: unknown }>("GET", `/v1/quarantine/${id}`, { as: operator });
    expect(shown.body.dsse).toEqual({
      payload: body.toString("base64"),
      payloadType: "application/vnd.msgr.bridge.v1+json",
      signatures: [{ keyid: "a-kid", sig: "a-sig" }],
    });
    for (const [as, entry] of [
      [rival, id],
      [operator, nobodys],
    ] as const) {
      for (const act of ["", "/retry", "/drop"]) {
        const answer = await api.world.ask(act === "" ? "GET" : "POST", `/v1/quarantine/${entry}${act}`, {
          as,
        });
        expect(answer.status).toBe(404);
      }
    }
    expect((await api.world.ask("POST", `/v1/quarantine/${id}/drop`, { as: operator })).status).toBe(204);
    expect((await api.world.ask("POST", `/v1/quarantine/${id}/drop`, { as: operator })).status).toBe(404);
    expect((await quarantined(pool, id))?.state).toBe("dropped");
    expect(await list(operator, "?state=dropped")).toEqual([id]);

    expect(
      (await api.world.ask("POST", `/v1/quarantine/${nobodys}/retry`, { as: api.world.owner })).status,
    ).toBe(204);
    const cut = await quarantine(pool, { ...refused, body: Buffer.alloc(100_000, "x") });
    const retried = await api.world.ask("POST", `/v1/quarantine/${cut}/retry`, { as: api.world.owner });
    expect([retried.status, retried.body.code]).toEqual([400, "request.invalid"]);
    expect((await api.world.ask("POST", `/v1/quarantine/${cut}/drop`, { as: api.world.owner })).status).toBe(
      204,
    );
    expect((await api.world.ask("GET", "/v1/quarantine/1e3", { as: api.world.owner })).status).toBe(400);
  });
});

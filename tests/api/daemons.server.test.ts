/** What operators do with daemons: enrol them, switch them, look after what they sent. */
import { randomBytes } from "node:crypto";
import { generateSealKeys, signerFromSeed, toBase64url } from "@linkspan/envelopes";
import { auditTrail, quarantine, quarantined } from "@linkspan/store";
import { afterAll, beforeAll, expect, test } from "vitest";
import { describeWithServers } from "../servers/available.ts";
import { type PostgresServer, startPostgres } from "../servers/postgres.ts";
import { ApiWorld } from "./api-world.ts";

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

describeWithServers(["postgres"], "daemons over HTTP", () => {
  let server: PostgresServer;
  let world: ApiWorld;

  beforeAll(async () => {
    server = await startPostgres();
    world = await ApiWorld.start(server);
  });
  afterAll(async () => {
    await world?.[Symbol.asyncDispose]();
    await server?.[Symbol.asyncDispose]();
  });

  const issue = (as = world.owner) =>
    world.ask<Issued>("POST", "/v1/enrolment-tokens", { as, body: { service: "irc", instance: "libera" } });
  const enrol = (body: object) => world.ask<Enrolled>("POST", "/v1/enrolments", { body });
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
    const record = world.core.keys.get(answer.body.kid)?.record;
    expect(record).toMatchObject({
      issuers: ["daemon:irc:libera"],
      services: ["irc"],
      workspaces: ["*"],
      purposes: ["envelope"],
    });
    expect((await enrol({ token, ...(await keys()) })).status).toBe(401);
    const trail = await auditTrail(world.core.database.pool, { workspaceId: "_", limit: 10 });
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
    const core = world.core.signer.publicKey;
    const stolen = await enrol({ token, ...good, public_key_b64u: toBase64url(core) });
    expect(stolen.body.code).toBe("request.invalid");
    expect(world.core.keys.get(world.core.signer.kid)?.record.issuers).toEqual(["core"]);

    expect((await enrol({ token, ...good })).status).toBe(201);
  });

  test("only who answers for all workspaces lets a daemon in", async () => {
    expect((await issue(await world.token("owner", "owner"))).status).toBe(403);
    expect((await issue(await world.token("op", "operator", "*"))).status).toBe(403);
    const core = await world.ask("POST", "/v1/enrolment-tokens", {
      as: world.owner,
      body: { service: "core" },
    });
    expect(core.status).toBe(400);
    expect((await enrol({ token: world.owner, ...(await keys()) })).status).toBe(401);
  });

  test("a connector is switched for a workspace or for all, with who and why", async () => {
    interface Switch extends Problem {
      readonly enabled: boolean;
      readonly flags: { workspace_id: string; who: string; why: string }[];
    }
    const operator = await world.token("night", "operator", "switched");
    const put = (as: string, service: string, enabled: boolean) =>
      world.ask<Switch>("PUT", `/v1/connectors/${service}`, { as, body: { enabled, why: "tested" } });
    const get = async (as: string, service: string) =>
      (await world.ask<Switch>("GET", `/v1/connectors/${service}`, { as })).body;

    expect(await get(operator, "irc")).toEqual({ service: "irc", enabled: true, flags: [] });
    const off = await put(operator, "irc", false);
    expect(off.body.flags).toMatchObject([{ workspace_id: "switched", who: "token:night", why: "tested" }]);
    expect((await get(operator, "irc")).enabled).toBe(false);
    expect((await get(await world.token("other", "operator", "not-switched"), "irc")).enabled).toBe(true);

    await put(world.owner, "*", false);
    expect((await put(operator, "irc", true)).body.enabled).toBe(false);
    expect((await put(operator, "*", true)).status).toBe(403);
    await put(world.owner, "*", true);
    expect((await get(operator, "irc")).enabled).toBe(true);
    for (const none of ["core", "vault", "No", "n".repeat(33)])
      expect((await put(operator, none, true)).status).toBe(400);
  });

  test("what was refused is listed, shown with its bytes, published again or dropped", async () => {
    const pool = world.core.database.pool;
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
    const operator = await world.token("desk", "operator", "acme");
    const rival = await world.token("desk", "operator", "rival");
    const list = async (as: string, query = "") =>
      (
        await world.ask<{ entries: { id: string }[] }>("GET", `/v1/quarantine${query}`, { as })
      ).body.entries.map((entry) => entry.id);

    expect(await list(operator)).toEqual([id]);
    expect(await list(rival)).toEqual([]);
    expect(await list(world.owner)).toEqual([nobodys, id]);
    expect(await list(world.owner, "?code=envelope.malformed")).toEqual([nobodys]);

    const shown = await world.ask<{ dsse: unknown }>("GET", `/v1/quarantine/${id}`, { as: operator });
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
        const answer = await world.ask(act === "" ? "GET" : "POST", `/v1/quarantine/${entry}${act}`, { as });
        expect(answer.status).toBe(404);
      }
    }
    expect((await world.ask("POST", `/v1/quarantine/${id}/drop`, { as: operator })).status).toBe(204);
    expect((await world.ask("POST", `/v1/quarantine/${id}/drop`, { as: operator })).status).toBe(404);
    expect((await quarantined(pool, id))?.state).toBe("dropped");
    expect(await list(operator, "?state=dropped")).toEqual([id]);

    expect((await world.ask("POST", `/v1/quarantine/${nobodys}/retry`, { as: world.owner })).status).toBe(
      204,
    );
    const cut = await quarantine(pool, { ...refused, body: Buffer.alloc(100_000, "x") });
    const retried = await world.ask("POST", `/v1/quarantine/${cut}/retry`, { as: world.owner });
    expect([retried.status, retried.body.code]).toEqual([400, "request.invalid"]);
    expect((await world.ask("POST", `/v1/quarantine/${cut}/drop`, { as: world.owner })).status).toBe(204);
    expect((await world.ask("GET", "/v1/quarantine/1e3", { as: world.owner })).status).toBe(400);
  });
});

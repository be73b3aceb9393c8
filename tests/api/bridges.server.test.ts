/** Linking as Msgr's clients call it: catalogue, sessions, credentials, unlinking. */
import { randomUUID } from "node:crypto";
import { identityById, saveDeclaration } from "@linkspan/store";
import { beforeEach, expect, test } from "vitest";
import { until } from "../servers/until.ts";
import { describeApi } from "./api-world.ts";

interface Session {
  readonly id: string;
  readonly account_id: string;
  readonly identity_id: string;
  readonly state: string;
  readonly metadata: Record<string, unknown>;
  readonly catalog_snapshot: { readonly id: string };
  readonly inserted_at: string;
  readonly last_transition_at: string;
  readonly expires_at: string;
}
interface Wrapped {
  readonly data: Session;
  readonly code?: string;
}

describeApi("linking over HTTP", {}, (api) => {
  let workspace: string;
  let backend: string;

  beforeEach(async () => {
    workspace = `ws-${randomUUID()}`;
    backend = await api.world.token("shop", "backend", workspace);
  });

  const open = (body?: object, service = "irc") =>
    api.world.ask<Wrapped>("POST", `/api/bridges/${service}/sessions`, {
      as: backend,
      ...(body !== undefined && { body }),
    });
  const read = async (id: string, as = backend) =>
    api.world.ask<Wrapped>("GET", `/api/bridges/sessions/${id}`, { as });
  const give = (id: string, body: object, service = "irc", as = backend) =>
    api.world.ask<Wrapped>("POST", `/api/bridges/${service}/sessions/${id}/credentials`, { as, body });

  test("the catalogue says what a person is asked for", async () => {
    const { body } = await api.world.ask<{ data: { id: string; auth: { form: { fields: object[] } } }[] }>(
      "GET",
      "/api/bridges/catalog",
      { as: backend },
    );
    const irc = body.data.find((entry) => entry.id === "irc");
    expect(irc?.auth.form.fields).toContainEqual({
      name: "password",
      type: "password",
      label: "Account password (SASL or NickServ)",
      optional: true,
    });
    const soon = await api.world.ask<{ data: object[] }>("GET", "/api/bridges/catalog?status=coming_soon", {
      as: backend,
    });
    expect(soon.body.data).toEqual([]);
  });

  test.each([
    ["beside `session`", { user_id: "u7" }],
    ["in `session`", { session: { user_id: "u7", client_context: { app: "x" } } }],
  ])("a session opens for the user named %s", async (_name, body) => {
    const { status, body: answer } = await open(body);
    expect(status).toBe(200);
    expect(answer.data).toMatchObject({
      account_id: "u7",
      service: "irc",
      state: "awaiting_user",
      login_method: "password",
      auth_surface: "native_form",
      catalog_snapshot: { id: "irc" },
    });
    const life = Date.parse(answer.data.expires_at) - Date.parse(answer.data.inserted_at);
    expect(Math.round(life / 60_000)).toBe(15);
    expect((await read(answer.data.id)).body.data.state).toBe("awaiting_user");
  });

  test("a session without a body is the token's own; one of no service there is, is not found", async () => {
    expect((await open()).body.data.account_id).toBe("shop");
    expect((await open({}, "nonesuch")).status).toBe(404);
  });

  test.each([
    ["in `credentials`", (fields: object) => ({ credentials: fields })],
    ["flat", (fields: object) => fields],
  ])("what is entered %s is taken once, and the secret appears nowhere", async (_name, wrap) => {
    const secret = `hunter-${randomUUID()}`;
    const { data } = (await open({ user_id: "u1" })).body;
    const fields = { network: "libera", host: "irc.example", port: 6697, nick: "alice", password: secret };

    const given = await give(data.id, wrap(fields));
    expect(given.body.data.state).toBe("completing");
    const failed = await until(
      async () => {
        const { body } = await read(data.id);
        return body.data.state === "failed" ? body.data : undefined;
      },
      { what: "no daemon to link" },
    );
    expect(failed.metadata).toMatchObject({ code: "platform.unavailable" });
    expect(Date.parse(failed.last_transition_at)).toBeGreaterThanOrEqual(Date.parse(data.last_transition_at));
    expect((await give(data.id, wrap(fields))).body.code).toBe("request.invalid");

    const identity = await identityById(api.world.core.database.pool, data.identity_id);
    // It failed, so that nothing of it is left.
    expect(identity).toMatchObject({ state: "unlinked", settings: {} });
    expect(JSON.stringify([identity, failed]) + api.world.logged.join("")).not.toContain(secret);
  });

  test("a session is another workspace's to neither see, fill nor end", async () => {
    const other = await api.world.token("rival", "backend", `${workspace}-not`);
    const { data } = (await open({ user_id: "u1" })).body;
    expect((await read(data.id, other)).status).toBe(404);
    expect((await give(data.id, { nick: "x" }, "irc", other)).status).toBe(404);
    const path = `/api/bridges/irc/sessions/${data.id}`;
    expect((await api.world.ask("DELETE", path, { as: other })).status).toBe(404);
    expect((await give(data.id, { nick: "x" }, "echo")).status).toBe(404);
    expect((await read(data.id)).body.data.state).toBe("awaiting_user");

    expect((await api.world.ask("DELETE", path, { as: backend })).status).toBe(204);
    expect((await read(data.id)).body.data.state).toBe("cancelled");
  });

  test.each([
    ["NUL", { nick: "a\0b" }],
    ["a secret that is no text", { credentials: { password: { deep: "x" } } }],
    ["too many fields", Object.fromEntries(Array.from({ length: 65 }, (_, i) => [`f${i}`, "x"]))],
  ])("%s is refused", async (_name, body) => {
    const { data } = (await open({ user_id: "u1" })).body;
    expect((await give(data.id, body)).body.code).toBe("request.invalid");
    expect((await read(data.id)).body.data.state).toBe("awaiting_user");
  });

  test.each([
    ["nested, under a name that is none of ours", { auth: { password: "S3CRET" } }, "auth.password"],
    ["under a name that does not look like one", { passphrase: "S3CRET" }, "passphrase"],
    ["as a member of a declared object", { sasl: { pin: "S3CRET" } }, "sasl.pin"],
    ["in `credentials`", { credentials: { sasl: { password: "S3CRET" } } }, "sasl.password"],
    ["that the platform's syntax cannot hold", { server_password: "S3CRET\r\nQUIT" }, "server_password"],
  ])("a secret %s is refused by its field's name, and stored nowhere", async (_name, body, named) => {
    const { data } = (await open({ user_id: "u1" })).body;
    const refused = await give(data.id, body);
    expect(refused.body.code).toBe("request.invalid");
    expect(JSON.stringify(refused.body)).toContain(named);
    expect((await read(data.id)).body.data.state).toBe("awaiting_user");
    const { pool } = api.world.core.database;
    const rows: unknown[] = [refused.body, await identityById(pool, data.identity_id)];
    for (const table of ["identities", "auth_sessions", "audit_entries"]) {
      rows.push((await pool.query(`SELECT t::text FROM ${table} t`)).rows);
    }
    expect(JSON.stringify(rows) + api.world.logged.join("")).not.toContain("S3CRET");
  });

  test("the documented key of a channel is a credential like any other", async () => {
    const { data } = (await open({ user_id: "u1" })).body;
    const fields = { network: "libera", nick: "alice", "channel_key:#k": "sesame" };
    expect((await give(data.id, { credentials: fields })).body.data.state).toBe("completing");
  });

  test("a service whose daemon announced nothing yet is refused for now, and one that announced is in the catalogue", async () => {
    const early = await api.world.ask<{ code: string }>("POST", "/api/bridges/xmpp/sessions", {
      as: backend,
      body: {},
    });
    expect([early.status, early.body.code]).toEqual([503, "platform.unavailable"]);
    const elsewhere = await open({ instance: "second" });
    expect(elsewhere.status).toBe(503);
    const { pool } = api.world.core.database;
    const link = { name: "XMPP", description: "", fields: [] };
    await saveDeclaration(pool, { service: "xmpp", instance: "primary" }, { capabilities: {}, link });
    expect((await open({}, "xmpp")).status).toBe(200);
  });

  test("one workspace opens no more links and keeps no more accounts than its share, and takes none of another's", async () => {
    const { pool } = api.world.core.database;
    const fill = (state: string, count: number) =>
      pool.query(
        `INSERT INTO identities (id, workspace_id, user_id, service, instance, home, state, settings)
         SELECT $1 || '-' || $2 || i, $1, 'u', 'irc', 'primary', 'primary', $2, '{}' FROM generate_series(1, $3) i`,
        [workspace, state, count],
      );
    await fill("pending", 999);
    expect((await open()).status).toBe(200);
    const busy = await open();
    expect([busy.status, busy.body.code, busy.headers["retry-after"]]).toEqual([
      429,
      "request.rate_limited",
      "60",
    ]);
    const rival = await api.world.token("rival", "backend", `rival-${workspace}`);
    const other = await api.world.ask("POST", "/api/bridges/irc/sessions", { as: rival });
    expect(other.status).toBe(200);
    await pool.query("DELETE FROM identities WHERE workspace_id = $1 AND id LIKE '%-pending%'", [workspace]);
    await fill("linked", 10_000);
    const full = await open();
    expect([full.status, full.body.code]).toEqual([400, "request.invalid"]);
  });

  test("what one instance announces changes neither the form, the secrets nor the settings shown of another", async () => {
    const { pool } = api.world.core.database;
    const field = (name: string) => ({
      name,
      label: "Your password at the bank",
      required: true,
      secret: false,
      syntax: "line",
      max_bytes: 300,
    });
    const link = { name: "Irc", description: "", fields: ["password", "learned_thing", "nick"].map(field) };
    const hostile = { service: "irc", instance: "a-hostile-one" };
    await saveDeclaration(pool, hostile, { capabilities: {}, link });
    const id = `of-primary-${workspace}`;
    await api.world.identity(id, workspace, "u1");

    interface Form {
      readonly id: string;
      readonly auth: { readonly form: { readonly fields: readonly { name: string; type: string }[] } };
    }
    const listed = await api.world.ask<{ data: Form[] }>("GET", "/api/bridges/catalog", { as: backend });
    const { data } = (await open({ user_id: "u1" })).body;
    const again = (await read(data.id)).body.data;
    for (const entry of [
      listed.body.data.find((one) => one.id === "irc"),
      data.catalog_snapshot as Form,
      again.catalog_snapshot as Form,
    ]) {
      expect(entry?.auth.form.fields.find(({ name }) => name === "password")?.type).toBe("password");
      expect(JSON.stringify(entry)).not.toContain("bank");
    }
    const one = await api.world.ask<{ settings: object }>("GET", `/v1/identities/${id}`, { as: backend });
    const all = await api.world.ask<{ identities: { id: string; settings: object }[] }>(
      "GET",
      "/v1/identities",
      {
        as: backend,
      },
    );
    const shown = [one.body.settings, all.body.identities.find((identity) => identity.id === id)?.settings];
    expect(shown).toEqual([
      { nick: id, network: "libera" },
      { nick: id, network: "libera" },
    ]);
    // Its own form is its own, and nobody else's.
    const own = (await open({ instance: hostile.instance })).body.data.catalog_snapshot as Form;
    expect(own.auth.form.fields.map(({ name }) => name)).toEqual(["password", "learned_thing", "nick"]);
  });

  test("what a person was asked for as a secret is never stored as a setting, whatever is announced meanwhile", async () => {
    const { pool } = api.world.core.database;
    const at = { service: "irc", instance: "changing" };
    const announce = (secret: boolean) => {
      const field = { name: "password", label: "Password", required: true, syntax: "line", max_bytes: 300 };
      const link = { name: "IRC", description: "", fields: [{ ...field, secret }] };
      return saveDeclaration(pool, at, { capabilities: {}, link });
    };
    await announce(true);
    const { data } = (await open({ instance: at.instance })).body;
    await announce(false);
    const secret = `S3CRET-${randomUUID()}`;
    const refused = await give(data.id, { password: secret });
    expect([refused.status, refused.body.code]).toEqual([400, "request.invalid"]);
    const { rows } = await pool.query("SELECT t::text FROM identities t");
    expect(JSON.stringify([rows, refused.body]) + api.world.logged.join("")).not.toContain(secret);
  });

  test("a session that is given up leaves neither settings nor an account", async () => {
    const { data } = (await open({ user_id: "u1" })).body;
    const path = `/api/bridges/irc/sessions/${data.id}`;
    expect((await api.world.ask("DELETE", path, { as: backend })).status).toBe(204);
    expect(await identityById(api.world.core.database.pool, data.identity_id)).toMatchObject({
      state: "unlinked",
      settings: {},
    });
  });

  test("an account is unlinked by its id, or by service and user", async () => {
    const ids = [`a-${workspace}`, `b-${workspace}`, `c-${workspace}`] as const;
    for (const [i, id] of ids.entries()) await api.world.identity(id, workspace, i === 2 ? "u2" : "u1");
    const drop = (path: string, as = backend) => api.world.ask("DELETE", `/api/bridges/${path}`, { as });
    const linked = async () =>
      (
        await api.world.ask<{ identities: { id: string; settings: object }[] }>("GET", "/v1/identities", {
          as: backend,
        })
      ).body.identities;

    expect((await linked())[0]?.settings).toEqual({ nick: ids[0], network: "libera" });
    expect((await drop(ids[0], await api.world.token("rival", "backend", "rival"))).status).toBe(404);
    expect((await drop(ids[0])).status).toBe(204);
    expect((await drop(ids[0])).status).toBe(404);
    expect((await drop("irc?user_id=u1")).status).toBe(204);
    expect((await linked()).map((identity) => identity.id)).toEqual([ids[2]]);
    expect((await drop("irc?user_id=u1")).status).toBe(404);
    const direct = await api.world.ask("DELETE", `/v1/identities/${ids[2]}`, { as: backend });
    expect(direct.status).toBe(204);
    expect(await linked()).toEqual([]);
  });
});

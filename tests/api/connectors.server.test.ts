/**
 * Connectors are known by what their daemons announced. A daemon of any platform, in any language, is enrolled, announces
 * itself, and its accounts are linked over HTTP, in Msgr's words or ours; nobody touches a table.
 */
import { randomUUID } from "node:crypto";
import { type Envelope, generateSealKeys, type LinkDeclaration, toBase64url } from "@linkspan/envelopes";
import { type Bus, EmbeddedBroker } from "@linkspan/fabric";
import { contactsOf } from "@linkspan/store";
import { afterAll, beforeAll, expect, test } from "vitest";
import { until } from "../servers/until.ts";
import { SignedDaemon } from "../worker/signed-daemon.ts";
import { describeApi } from "./api-world.ts";

const field = (name: string, over: object = {}) => ({
  name,
  label: name,
  required: false,
  secret: false,
  syntax: "line" as const,
  max_bytes: 300,
  ...over,
});
const TELEGRAM = {
  name: "Telegram",
  description: "Private chats, groups and channels.",
  fields: [field("phone_number", { required: true }), field("code", { secret: true })],
  wants_context: true,
} as const satisfies LinkDeclaration;

/** By code units, whatever the database's collation. */
const byRef = ([a = ""]: readonly string[], [b = ""]: readonly string[]) => (a < b ? -1 : 1);

interface Session {
  readonly id: string;
  readonly identity_id: string;
  readonly state: string;
  readonly callback_path: string;
  readonly client_context: object;
  readonly metadata: Record<string, unknown>;
}
interface Entry {
  readonly id: string;
  readonly auth: Record<string, unknown>;
  readonly capabilities: Record<string, unknown>;
  readonly auth_paths: { readonly callback: string };
  readonly link: Record<string, unknown> | null;
}

const broker = new EmbeddedBroker();

describeApi("connectors that announced themselves", { broker }, (api) => {
  let bus: Bus;
  let backend: string;
  let seed = 60;

  beforeAll(async () => {
    bus = broker.connect("daemons");
    backend = await api.world.token("shop", "backend");
  });
  afterAll(async () => {
    await bus?.[Symbol.asyncDispose]();
  });

  /** Enrolled over HTTP, with its lease and its announcement, as a daemon in another language does it. */
  async function start(service: string, link: object, capabilities: object = {}, instance = "primary") {
    seed += 1;
    const daemon = new SignedDaemon(api.world.core, bus, service, instance, seed);
    const issued = await api.world.ask<{ token: string }>("POST", "/v1/enrolment-tokens", {
      as: api.world.owner,
      body: { service, instance },
    });
    const enrolled = await api.world.ask("POST", "/v1/enrolments", {
      body: {
        token: issued.body.token,
        public_key_b64u: toBase64url(daemon.signer.publicKey),
        seal_b64u: toBase64url((await generateSealKeys()).publicKey),
      },
    });
    expect(enrolled.status, JSON.stringify(enrolled.body)).toBe(201);
    const hello = await daemon.ask(
      "core",
      "hello",
      { boot_id: randomUUID(), version: "1" },
      { workspace_id: "_" },
    );
    daemon.epoch = (hello as { lease: { epoch: number } }).lease.epoch;
    await daemon.say(daemon.note("capabilities", { capabilities, link }, { workspace_id: "_" }));
    return daemon;
  }

  /** Answers link requests in turn. @returns what it was asked */
  async function answering(daemon: SignedDaemon, answers: readonly object[]): Promise<Envelope[]> {
    const asked: Envelope[] = [];
    const { service, instance } = daemon;
    const queue = {
      name: `${service}.${instance}.links`,
      kind: "shared" as const,
      bindings: [{ service, instance, action: "link_account" }],
    };
    await bus.declare([queue]);
    await bus.subscribe(queue, {
      handle: async (batch) => {
        for (const { delivery } of batch) {
          if (delivery.route.action !== "link_account") continue;
          const answer = answers[asked.length];
          asked.push(JSON.parse(Buffer.from(delivery.body).toString()) as Envelope);
          if (answer !== undefined) await daemon.reply(delivery, answer);
        }
        return batch.map(() => ({ do: "ack" }) as const);
      },
    });
    return asked;
  }

  const open = (service: string, body: object) =>
    api.world.ask<{ data: Session }>("POST", `/api/bridges/${service}/sessions`, { as: backend, body });
  const post = (path: string, body: object) =>
    api.world.ask<{ data: Session; code?: string }>("POST", path, { as: backend, body });
  const entry = async (id: string, user: string) =>
    (
      await api.world.ask<{ data: Entry[] }>("GET", `/api/bridges/catalog?user_id=${user}`, { as: backend })
    ).body.data.find((one) => one.id === id);
  const reached = (id: string, state: string) =>
    until(
      async () => {
        const { data } = (
          await api.world.ask<{ data: Session }>("GET", `/api/bridges/sessions/${id}`, { as: backend })
        ).body;
        if (data.state === "failed" && state !== "failed") throw new Error(JSON.stringify(data.metadata));
        return data.state === state ? data : undefined;
      },
      { what: `the session to be ${state}` },
    );

  test("a telegram daemon's account is linked in Msgr's words, and nothing that it answered is lost", async () => {
    const daemon = await start("telegram", TELEGRAM, {
      messaging: { media: ["text", "image"] },
      presence: true,
    });
    const asked = await answering(daemon, [
      { status: "code_required", phone_code_hash: "hash-1" },
      {
        status: "linked",
        user: { id: 7, first_name: "Ada", last_name: "L.", username: "ada" },
        session: { blob: "S3CRET" },
        capabilities: { reactions: true },
        contacts: [{ id: 8, first_name: "Bob" }, { name: "without an id" }],
        chats: [
          { id: 9, type: "channel", title: "News" },
          { id: 8, type: "private", title: "Bob" },
        ],
      },
    ]);
    expect(await entry("telegram", "u1")).toMatchObject({
      auth: { status: "not_linked", form: { fields: [{ name: "phone_number" }, { name: "code" }] } },
      capabilities: { messaging: { media: ["text", "image"] }, presence: true },
      link: null,
    });

    const opened = (await open("telegram", { user_id: "u1", session: { client_context: { app: "x" } } })).body
      .data;
    expect(opened.client_context).toEqual({ app: "x" });
    await post(`/api/bridges/telegram/sessions/${opened.id}/credentials`, { phone_number: "+15550100" });
    const waiting = await reached(opened.id, "awaiting_user");
    expect(waiting.metadata).toMatchObject({
      step: "code_required",
      phone_code_hash: "hash-1",
      fields: [{ name: "code", required: true, secret: true }],
    });
    await post(`/api/bridges/telegram/sessions/${opened.id}/credentials`, { code: "12345" });
    await reached(opened.id, "linked");

    expect(asked.map(({ payload }) => payload)).toMatchObject([
      {
        settings: { phone_number: "+15550100" },
        client_context: { app: "x" },
        callback: `/api/bridges/telegram/sessions/${opened.id}/callback`,
      },
      { settings: { phone_number: "+15550100", phone_code_hash: "hash-1" }, step: "code_required" },
    ]);
    const { pool } = api.world.core.database;
    const { rows } = await pool.query("SELECT * FROM identities WHERE id = $1", [opened.identity_id]);
    expect(rows[0]).toMatchObject({
      remote: "user:7",
      name: "Ada L.",
      capabilities: { reactions: true },
      settings: { phone_number: "+15550100" },
    });
    expect(JSON.stringify(rows)).not.toMatch(/S3CRET|hash-1|12345/);
    const contacts = await contactsOf(pool, "acme", opened.identity_id, { limit: 10 });
    expect(contacts.map(({ ref, kind, name }) => [ref, kind, name]).toSorted(byRef)).toEqual([
      ["msgr://channels/acme/bridge/telegram/channel%3A9", "channel", "News"],
      [`msgr://channels/acme/bridge/telegram/~${opened.identity_id}/user%3A8`, "channel", "Bob"],
      ["msgr://identity/bridges/telegram/user%3A8", "contact", "Bob"],
    ]);
    expect(await entry("telegram", "u1")).toMatchObject({
      auth: { status: "linked", linked_at: expect.any(String) as string },
      link: {
        status: "linked",
        identity_id: opened.identity_id,
        display_name: "Ada L.",
        external_id: "user:7",
        connections: [{ instance: "primary" }],
      },
    });
    expect((await entry("telegram", "somebody"))?.link).toBeNull();
  });

  test("a platform that nobody here has heard of is linked over its sign-in page's callback", async () => {
    const none = await open("signal", { user_id: "u2" });
    expect(none.status).toBe(404);
    const daemon = await start("signal", {
      name: "Signal",
      description: "",
      fields: [field("code", { secret: true }), field("state")],
      method: "oauth",
    });
    const asked = await answering(daemon, [{ status: "linked", remote: "s-1", name: "Ada" }]);
    expect(await entry("signal", "u2")).toMatchObject({
      auth: { method: "oauth", auth_surface: "embedded_browser" },
      auth_paths: { callback: "/api/bridges/signal/sessions/:session_id/callback" },
    });
    const opened = (await open("signal", { user_id: "u2", client_context: { app: "y" } })).body.data;
    const done = await post(`${opened.callback_path}?code=S3CRET&state=xyz`, {});
    expect(done.status, JSON.stringify(done.body)).toBe(200);
    await reached(opened.id, "linked");
    expect(asked[0]?.payload).toMatchObject({ settings: { state: "xyz" } });
    // It did not ask for them.
    expect(Object.keys(asked[0]?.payload ?? {})).not.toContain("client_context");
    expect(JSON.stringify(asked)).not.toContain("S3CRET");
    const intent = await api.world.ask<{ state: string; code?: string }>("POST", "/v1/intents", {
      as: backend,
      headers: { "idempotency-key": randomUUID() },
      body: {
        identity_id: opened.identity_id,
        conversation: "msgr://channels/acme/bridge/signal/group-1",
        payload: { text: "hello" },
      },
    });
    expect(intent.body).toMatchObject({ state: "queued" });
  });

  test.each([
    ["a label that drives a terminal", { fields: [field("a", { label: "x\u001b[2J" })] }],
    ["a description of several lines", { description: "a\nb" }],
    ["a field that stands twice", { fields: [field("a"), field("a", { secret: true })] }],
    ["more fields than a form has", { fields: Array.from({ length: 129 }, (_, i) => field(`f${i}`)) }],
    ["a name that is too long", { name: "x".repeat(101) }],
    ["a method that nobody serves", { method: "sorcery" }],
  ])("%s is not announced, and what was stays", async (_name, over) => {
    const link = { name: "Bounded", description: "", fields: [] };
    const daemon = await start("bounded", link, {}, `i${randomUUID()}`);
    const before = await api.world.core.database.query("SELECT 1 FROM quarantine");
    await daemon.say(
      daemon.note("capabilities", { capabilities: {}, link: { ...link, ...over } }, { workspace_id: "_" }),
    );
    const after = await api.world.core.database.query("SELECT 1 FROM quarantine");
    expect(after.rows.length - before.rows.length).toBe(1);
    const { rows } = await api.world.core.database.query<{ declaration: { link: object } }>(
      "SELECT declaration FROM instances WHERE service = 'bounded' AND instance = $1",
      [daemon.instance],
    );
    expect(rows[0]?.declaration.link).toEqual(link);
  });

  test("a daemon that asks for what it did not declare fails its link, and says so", async () => {
    const link = { name: "Telegram", description: "", fields: [field("phone_number")] };
    const daemon = await start("telegram", link, {}, "undeclared");
    await answering(daemon, [{ status: "code_required", phone_code_hash: "h" }]);
    const opened = (await open("telegram", { user_id: "u3", instance: "undeclared" })).body.data;
    await post(`/api/bridges/telegram/sessions/${opened.id}/credentials`, { phone_number: "+1" });
    const failed = await reached(opened.id, "failed");
    expect(failed.metadata).toMatchObject({ code: "request.invalid" });
    expect(String(failed.metadata.message)).toContain("code");
  });

  test("unlinking by service honours the instance, whatever an identity is called", async () => {
    const { pool } = api.world.core.database;
    for (const [id, instance] of [
      ["irc", "primary"],
      ["second", "eu-1"],
      ["third", "eu-2"],
    ] as const) {
      await api.world.identity(id, "acme", "u9");
      await pool.query("UPDATE identities SET instance = $2 WHERE id = $1", [id, instance]);
    }
    const drop = async (path: string) =>
      (await api.world.ask("DELETE", `/api/bridges/${path}`, { as: backend })).status;
    const linked = async () =>
      (
        await api.world.ask<{ identities: { id: string }[] }>("GET", "/v1/identities?user_id=u9", {
          as: backend,
        })
      ).body.identities
        .map(({ id }) => id)
        .filter((id) => ["irc", "second", "third"].includes(id));
    expect(await drop("telegram?user_id=u9")).toBe(404);
    expect(await drop("second?instance=eu-2")).toBe(404);
    expect(await drop("irc?user_id=u9&instance=eu-9")).toBe(404);
    // An identity of that name is one identity.
    expect(await drop("irc?user_id=u9")).toBe(204);
    expect(await linked()).toEqual(["second", "third"]);
    await api.world.identity("fourth", "acme", "u9");
    await pool.query("UPDATE identities SET state = 'unlinked', id = 'gone' WHERE id = 'irc'");
    expect(await drop("irc?user_id=u9&instance=eu-1")).toBe(204);
    expect(await linked()).toEqual(["third"]);
    expect(await drop("irc?user_id=u9")).toBe(204);
    expect(await linked()).toEqual([]);
  });
});

/** Who a daemon may speak for: every action that it can send, from every daemon that must not send it. */
import { actionsOf, type ErrorCode, sealKeysFrom, toBase64url } from "@linkspan/envelopes";
import { ownRecord, registerKey } from "@linkspan/compose/parts";
import type { Bus } from "@linkspan/fabric";
import { insertIdentity, intentById, updateIdentity } from "@linkspan/store";
import { recordIntent } from "@linkspan/worker";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { describeWithServers } from "../servers/available.ts";
import { type PostgresServer, startPostgres } from "../servers/postgres.ts";
import { until } from "../servers/until.ts";
import { room, SignedDaemon, senderRef } from "./signed-daemon.ts";
import { openWorld, type World, WORKSPACE } from "./world.ts";

const NOW = () => new Date().toISOString();

/** What an action says of an account; `intent` is one of that account's, or of whoever is attacked. */
type Say = (account: string, intent: string) => { readonly payload: object; readonly event?: true };

const REPORTS: Readonly<Record<string, Say>> = {
  inbound_event: () => ({ payload: {}, event: true }),
  history_batch: (account) => ({
    payload: { account, conversation: room("a"), events: [], complete: true },
  }),
  roster_snapshot: (account) => ({
    payload: { account, entries: [{ ref: senderRef("eve"), name: "eve", kind: "contact" }] },
  }),
  sync_complete: (account) => ({ payload: { account } }),
  checkpoint: (account) => ({ payload: { account, cursor: { at: 99 } } }),
  link_progress: (account) => ({ payload: { account, step: "s", message: "m" } }),
  delivery_status: (_, intent) => ({
    payload: { intent_id: intent, attempt: 1, part: 0, parts: 1, status: "sent", remote_id: "x", at: NOW() },
  }),
  delivery_statuses: (account, intent) => ({
    payload: {
      statuses: [
        {
          intent_id: intent,
          attempt: 1,
          part: 0,
          parts: 1,
          status: "sent",
          remote_id: "x",
          at: NOW(),
          identity_id: account,
          message_id: toBase64url(new Uint8Array(32).fill(1)),
        },
      ],
    },
  }),
  deferred: (_, intent) => ({
    payload: { intent_id: intent, attempt: 1, until: "2036-01-01T00:00:00.000Z", reason: "r" },
  }),
  throttle: (account) => ({ payload: { account, reason: "r", retry_after_ms: 1 } }),
  bridge_state: (account) => ({ payload: { account, state: "bad_credentials", message: "m" } }),
  capabilities: () => ({ payload: { capabilities: {} } }),
  health: () => ({ payload: { status: "ok", identities: 1 } }),
};
/** They speak of the instance and name no account. */
const OF_THE_INSTANCE = new Set(["capabilities", "health"]);
const EVENTS = new Set(["inbound_event", "history_batch"]);
const OUTCOMES = new Set(["delivery_status", "delivery_statuses", "deferred"]);

const actions = actionsOf("irc").filter(
  (action) => action.direction === "to_core" && action.name === action.canonical,
);

describeWithServers(["postgres"], "authority of a daemon", () => {
  let server: PostgresServer;
  let world: World;
  let bus: Bus;
  let own: SignedDaemon;
  let older: SignedDaemon;
  let sibling: SignedDaemon;
  let stranger: SignedDaemon;
  let intent: string;
  let lease: string;
  let ticket: string;

  beforeAll(async () => {
    server = await startPostgres();
    world = await openWorld({ databaseUrl: await server.createDatabase("authority"), daemons: false });
    const { core } = world;
    bus = world.broker.connect("tester");
    await bus.declare([
      { name: "taker", kind: "shared", bindings: [{ service: "irc", action: "outbound_message" }] },
    ]);
    own = await sealed(new SignedDaemon(core, bus, "irc", "primary", 5));
    older = new SignedDaemon(core, bus, "irc", "primary", 5);
    sibling = await sealed(new SignedDaemon(core, bus, "irc", "second", 6));
    stranger = await sealed(new SignedDaemon(core, bus, "echo", "primary", 7));
  });
  afterAll(async () => {
    await bus?.[Symbol.asyncDispose]();
    await world?.[Symbol.asyncDispose]();
    await server?.[Symbol.asyncDispose]();
  });
  beforeEach(async () => {
    const { core } = world;
    await core.database.query(
      `TRUNCATE events, event_positions, inbox_keys, conversations, quarantine, instance_leases, checkpoints, contacts,
       conversation_absences, identity_refs, shared_events, outbox, lanes, intents, identities, auth_sessions,
       vault.leases, vault.secrets, vault.secret_versions CASCADE`,
    );
    older.epoch = await own.hold();
    await own.hold();
    for (const daemon of [sibling, stranger]) await daemon.hold();
    await own.serve("alice");
    await own.serve("rita", "rival");
    await own.serve("una");
    await updateIdentity(core.database.pool, "una", { state: "unlinked" });
    const recorded = await recordIntent(core, {
      workspaceId: WORKSPACE,
      userId: "u",
      identityId: "alice",
      action: "outbound_message",
      conversation: room("a"),
      payload: { text: "x" },
      idempotencyKey: "k",
      actor: "t",
    });
    intent = recorded.intent.id;
    await until(async () => ((await intentById(core.database.pool, intent))?.attempt ?? 0) > 0, {
      what: "the intent to be out",
    });
    const { identities } = await own.ask("core", "resume", { boot_id: "b" }, { workspace_id: "_" });
    const served = (identities as { identity_id: string; ticket: string }[]).find(
      (one) => one.identity_id === "alice",
    );
    ticket = served?.ticket ?? "";
    lease = String((await own.ask("vault", "checkout", { ticket, scope: "session" })).lease_id);
  });

  async function sealed(daemon: SignedDaemon): Promise<SignedDaemon> {
    const seal = sealKeysFrom(new Uint8Array(32).fill(8)).publicKey;
    const purposes = ["envelope" as const];
    const record = { issuers: [daemon.issuer], purposes, services: [daemon.service], seal };
    await registerKey(world.core, ownRecord(daemon.signer, record, new Date()));
    return daemon;
  }

  /** Everything that a daemon's words can change. */
  async function state(): Promise<unknown> {
    const all = (table: string, columns = "t::text") =>
      `(SELECT coalesce(string_agg(${columns}, ';' ORDER BY ${columns}), '') FROM ${table} t) AS "${table}"`;
    const { rows } = await world.core.database.query(
      `SELECT ${[
        all("intents", "concat_ws(',', id, state, part, attempt, remote_ids::text, ask_id)"),
        all("outbox", "intent_id"),
        all("lanes", "concat_ws(',', identity_id, lane, due_at::text)"),
        ...[
          "events",
          "inbox_keys",
          "conversations",
          "checkpoints",
          "contacts",
          "identities",
          "identity_refs",
        ].map((table) => all(table)),
        all("vault.leases"),
        all("vault.secret_versions"),
        all("vault.row_sets", "concat_ws(',', identity_id, version)"),
      ].join(", ")}`,
    );
    return rows[0];
  }

  async function refusals(): Promise<string[]> {
    const { rows } = await world.core.database.query<{ code: string }>(
      "SELECT code FROM quarantine ORDER BY id",
    );
    return rows.map((row) => row.code);
  }

  function tell(daemon: SignedDaemon, action: string, account: string, over: Record<string, unknown> = {}) {
    const { payload, event } = (REPORTS[action] as Say)(account, intent);
    if (event === true) return daemon.event({ account, home: "primary", metadata: over });
    const metadata = {
      ...(OUTCOMES.has(action) && { identity_id: account }),
      // One that holds many answers none of them.
      ...(OUTCOMES.has(action) && action !== "delivery_statuses" && { in_reply_to: intent }),
      ...(action === "history_batch" && { conversation: room("a") }),
      ...over,
    };
    return daemon.note(action, payload, metadata);
  }

  test("the table below has every action that a daemon may send", () => {
    expect(Object.keys(REPORTS).toSorted()).toEqual(actions.map((action) => action.name).toSorted());
    const asked = ["core", "vault"].flatMap((service) => actionsOf(service)).filter((one) => one.reply);
    expect(asked.map((one) => one.name).toSorted()).toEqual([...Object.keys(requests()), "hello"].toSorted());
  });

  test.each(actions.map((action) => action.name))("%s: its own daemon is heard", async (action) => {
    await own.say(tell(own, action, OF_THE_INSTANCE.has(action) ? "" : "alice"));
    expect(await refusals()).toEqual([]);
  });

  const named = actions.map((action) => action.name).filter((name) => !OF_THE_INSTANCE.has(name));
  const wrong: [why: string, say: (action: string) => Promise<void>][] = [
    ["another service's daemon", (action) => stranger.say(inService(tell(stranger, action, "alice")))],
    ["another instance", (action) => sibling.say(tell(sibling, action, "alice"))],
    ["for an identity of another workspace", (action) => own.say(tell(own, action, "rita"))],
    [
      "in the workspace of another tenant",
      (action) =>
        own.say(tell(own, action, "alice", { workspace_id: "rival", conversation: room("a", "rival") })),
    ],
  ];
  const inService = (envelope: ReturnType<typeof tell>) => ({
    ...envelope,
    metadata: {
      ...envelope.metadata,
      ...(envelope.metadata.conversation !== undefined && { conversation: room("a", WORKSPACE, "echo") }),
    },
    payload: {
      ...envelope.payload,
      ...("conversation" in envelope.payload && { conversation: room("a", WORKSPACE, "echo") }),
    },
  });
  test.each(named.flatMap((action) => wrong.map(([why, say]) => [action, why, say] as const)))(
    "%s: %s is refused and changes nothing",
    async (action, _, say) => {
      const before = await state();
      await say(action);
      expect(await state()).toEqual(before);
      const codes = await refusals();
      expect(codes).toHaveLength(1);
      expect(["envelope.wrong_issuer", "envelope.schema"]).toContain(codes[0]);
    },
  );

  test.each(actions.map((action) => action.name))("%s: of an older epoch", async (action) => {
    const before = await state();
    await older.say(tell(older, action, OF_THE_INSTANCE.has(action) ? "" : "alice"));
    if (EVENTS.has(action)) {
      expect(await refusals()).toEqual([]);
      expect(await state()).not.toEqual(before);
    } else {
      expect(await refusals()).toEqual(["envelope.wrong_issuer"]);
      expect(await state()).toEqual(before);
    }
  });

  test.each(named)("%s: of an account that was unlinked changes nothing", async (action) => {
    const before = await state();
    await own.say(tell(own, action, "una"));
    expect(await state()).toEqual(before);
    // What it says as it hangs up is expected; an event or a progress is not, nor another's intent.
    const looked = EVENTS.has(action) || OUTCOMES.has(action) || action === "link_progress";
    expect(await refusals()).toEqual(looked ? ["envelope.wrong_issuer"] : []);
  });

  test("an id that a daemon chose for a status or a history suppresses nobody's event", async () => {
    const event = own.event({ account: "alice", remoteId: "r1" });
    const status = tell(own, "delivery_status", "alice", { message_id: event.metadata.message_id });
    const history = tell(own, "history_batch", "alice", { message_id: event.metadata.message_id });
    await own.say(status);
    await own.say(history);
    await own.say(event);
    expect(await refusals()).toEqual([]);
    const { rows } = await world.core.database.query("SELECT 1 FROM events WHERE message_id = $1", [
      Buffer.from(event.metadata.message_id, "base64url"),
    ]);
    expect(rows).toHaveLength(1);
  });

  test("a status of one account does not stand for another's with the same id", async () => {
    await own.serve("anna");
    const status = tell(own, "delivery_status", "alice");
    await own.say({ ...status, metadata: { ...status.metadata, identity_id: "anna" } });
    expect(await refusals()).toEqual(["envelope.wrong_issuer"]);
    await own.say(status);
    expect((await intentById(world.core.database.pool, intent))?.state).toBe("sent");
  });

  test("another account's private conversation takes no event, and a status names its intent once", async () => {
    await own.serve("anna");
    const theirs = `${room("a").slice(0, room("a").lastIndexOf("/"))}/~anna/carol`;
    await own.say(own.event({ account: "alice", conversation: theirs }));
    await own.say(own.event({ account: "anna", conversation: theirs }));
    const status = tell(own, "delivery_status", "alice");
    await own.say({
      ...status,
      metadata: { ...status.metadata, in_reply_to: toBase64url(new Uint8Array(32)) },
    });
    expect(await refusals()).toEqual(["envelope.wrong_issuer", "envelope.schema"]);
  });

  function requests(): Record<string, { service: "core" | "vault"; payload: object; workspace?: string }> {
    const blob = toBase64url(new Uint8Array(48));
    return {
      resume: { service: "core", payload: { boot_id: "b" }, workspace: "_" },
      attempt: { service: "core", payload: { intent_id: intent, attempt: 1, part: 0, parts: 1 } },
      submit_intent: {
        service: "core",
        payload: {
          idempotency_key: "k2",
          service: "irc",
          action: "outbound_message",
          identity_id: "alice",
          payload: { text: "x" },
        },
      },
      checkout: { service: "vault", payload: { ticket, scope: "session" } },
      renew: { service: "vault", payload: { lease_id: lease } },
      release: { service: "vault", payload: { lease_id: lease } },
      write_back: {
        service: "vault",
        payload: { lease_id: lease, version: 0, sealed: { enc: blob, ct: blob } },
      },
      load_rows: { service: "vault", payload: { identity_id: "alice" } },
      commit_rows: {
        service: "vault",
        payload: { identity_id: "alice", version: 0, sealed: { enc: blob, ct: blob } },
      },
    };
  }
  // Whether `commit_rows` may be done is asked once its rows are open, so it is tested where they are sealed (rows.server.test.ts).
  const asked = [
    "resume",
    "attempt",
    "submit_intent",
    "checkout",
    "renew",
    "release",
    "write_back",
    "load_rows",
  ];
  const askers: [why: string, who: () => SignedDaemon, workspace?: string][] = [
    ["another service's daemon", () => stranger],
    ["another instance", () => sibling],
    ["an older epoch", () => older],
    ["its own daemon in the workspace of another tenant", () => own, "rival"],
  ];
  test.each(asked.flatMap((action) => askers.map(([why, who, to]) => [action, why, who, to] as const)))(
    "request %s by %s is refused and changes nothing",
    async (action, why, who, to) => {
      const request = requests()[action];
      if (request === undefined) throw new Error(`${action} is not in the table`);
      // A resume names no tenant, and another daemon's is about its own instance.
      if (action === "resume" && (to !== undefined || !why.startsWith("an older"))) return;
      const before = await state();
      const answer = await who().ask(request.service, action, request.payload, {
        workspace_id: to ?? request.workspace ?? WORKSPACE,
      });
      expect(answer.error, JSON.stringify(answer)).toBeDefined();
      const refusalsAllowed: ErrorCode[] = [
        "lease.lost",
        "envelope.wrong_issuer",
        "ticket.wrong_audience",
        "ticket.wrong_destination",
        "request.not_found",
      ];
      expect(refusalsAllowed).toContain((answer.error as { code: ErrorCode }).code);
      expect(await state()).toEqual(before);
    },
  );

  test("a daemon resumes its own instance's identities, and no others", async () => {
    const names = async (daemon: SignedDaemon) => {
      const { identities } = await daemon.ask("core", "resume", { boot_id: "b" }, { workspace_id: "_" });
      return (identities as { identity_id: string }[]).map((one) => one.identity_id).toSorted();
    };
    expect(await names(own)).toEqual(["alice", "rita"]);
    expect(await names(sibling)).toEqual([]);
    expect(await names(stranger)).toEqual([]);
  });

  test("a pending account may check out to be tried, and reports nothing but its progress", async () => {
    const pool = world.core.database.pool;
    const identity = {
      id: "pia",
      workspace_id: WORKSPACE,
      user_id: "u",
      service: "irc",
      instance: "primary",
    };
    await insertIdentity(pool, { ...identity, settings: {} });
    await own.say(tell(own, "link_progress", "pia"));
    expect(await refusals()).toEqual([]);
    await own.say(tell(own, "bridge_state", "pia"));
    expect(await refusals()).toEqual(["envelope.wrong_issuer"]);
  });
});

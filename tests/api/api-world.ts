/** A core with its API: real database, real vault, embedded bus, everything that it logs kept. */
import { createHash, randomBytes, randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Writable } from "node:stream";
import { type Api, type ApiOptions, hashToken, newToken, prometheusMetrics, startApi } from "@linkspan/api";
import { DECLARATION as ECHO } from "@linkspan/daemon-echo";
import { DECLARATION as IRC } from "@linkspan/daemon-irc";
import {
  encode,
  eventId,
  KeyRing,
  type Signer,
  signerFromSeed,
  timestamp,
  toBase64url,
  traceIdOf,
} from "@linkspan/envelopes";
import { EmbeddedBroker } from "@linkspan/fabric";
import { DirectoryMediaStore } from "@linkspan/media";
import {
  appendEvents,
  audit,
  auditTrail,
  Database,
  insertApiToken,
  insertIdentity,
  keyRecords,
  openNamespace,
  type Role,
  saveDeclaration,
  saveKeyRecord,
  updateIdentity,
} from "@linkspan/store";
import { EnvelopeVault, FileKeyBackend, PgSecretStore } from "@linkspan/vault";
import { type Core, Recording, Refusals, startWorker, Wakes } from "@linkspan/worker";
import pino from "pino";
import { Registry } from "prom-client";
import { afterAll, beforeAll } from "vitest";
import { describeWithServers } from "../servers/available.ts";
import { type PostgresServer, startPostgres } from "../servers/postgres.ts";

export interface Answer<T = Record<string, unknown>> {
  readonly status: number;
  readonly headers: Record<string, unknown>;
  readonly body: T;
}

type Options = Pick<ApiOptions, "limits" | "trustProxy" | "checks"> & { readonly broker?: EmbeddedBroker };

/** Starts an API on a database of its own; whoever calls it disposes of it. */
export type StartApi = (options?: Options) => Promise<ApiWorld>;

/** A suite whose tests start APIs, each with options of its own, on one server. */
export function describeApis(title: string, suite: (start: StartApi) => void): void {
  describeWithServers(["postgres"], title, () => {
    let server: PostgresServer;
    beforeAll(async () => {
      server = await startPostgres();
    });
    afterAll(() => server?.[Symbol.asyncDispose]());
    suite((options) => ApiWorld.start(server, options));
  });
}

export interface SharedApi {
  /** For hooks and tests; it is not there before. */
  readonly world: ApiWorld;
  /** One more API, on the same server. */
  readonly start: StartApi;
}

/** A suite with one API for all of its tests. */
export function describeApi(title: string, options: Options, suite: (api: SharedApi) => void): void {
  describeApis(title, (start) => {
    let world: ApiWorld;
    beforeAll(async () => {
      world = await start(options);
    });
    afterAll(() => world?.[Symbol.asyncDispose]());
    suite({
      start,
      get world() {
        return world;
      },
    });
  });
}

interface Asked {
  readonly as?: string;
  readonly body?: unknown;
  readonly headers?: Record<string, string>;
  readonly address?: string;
}

export class ApiWorld implements AsyncDisposable {
  readonly core: Core;
  readonly api: Api;
  /** Everything logged, down to trace. */
  readonly logged: string[];
  /** For all workspaces. */
  readonly owner: string;
  /** Holds the vault's key and, in `media`, the media. */
  readonly directory: string;
  readonly #resources: AsyncDisposableStack;
  readonly #daemon: Signer = signerFromSeed(randomBytes(32));
  #events = 0;

  private constructor(
    parts: { core: Core; api: Api; logged: string[]; owner: string; directory: string },
    resources: AsyncDisposableStack,
  ) {
    this.core = parts.core;
    this.api = parts.api;
    this.logged = parts.logged;
    this.owner = parts.owner;
    this.directory = parts.directory;
    this.#resources = resources;
  }

  static async start(
    server: PostgresServer,
    { broker = new EmbeddedBroker(), ...options }: Options = {},
  ): Promise<ApiWorld> {
    await using stack = new AsyncDisposableStack();
    const directory = await mkdtemp(join(tmpdir(), "linkspan-api-"));
    stack.defer(() => rm(directory, { recursive: true, force: true }));
    const name = `api_${randomUUID().replaceAll("-", "")}`;
    const database = stack.use(new Database(await server.migratedDatabase(name)));
    const registry = new Registry();
    const logged: string[] = [];
    const core = await openCore(database, registry, logged, directory, broker, stack);
    stack.use(await startWorker(core));
    for (const [service, link] of [
      ["irc", IRC],
      ["echo", ECHO],
    ] as const) {
      await saveDeclaration(core.database.pool, { service, instance: "primary" }, { capabilities: {}, link });
    }
    const owner = await tokenIn(core, { name: "root", role: "owner", workspace: "*" });
    const api = stack.use(await startApi(core, { host: "127.0.0.1", port: 0, registry, ...options }));
    return new ApiWorld({ core, api, logged, owner, directory }, stack.move());
  }

  token(name: string, role: Role, workspace = "acme"): Promise<string> {
    return tokenIn(this.core, { name, role, workspace });
  }

  /** A request without a socket; `as` is a token. */
  async ask<T = Record<string, unknown>>(
    method: "GET" | "POST" | "PUT" | "DELETE",
    url: string,
    asked: Asked = {},
  ): Promise<Answer<T>> {
    const answer = await this.api.app.inject({
      method,
      url,
      headers: {
        ...(asked.as !== undefined && { authorization: `Bearer ${asked.as}` }),
        ...(asked.body !== undefined && { "content-type": "application/json" }),
        ...asked.headers,
      },
      ...(asked.body !== undefined && { payload: JSON.stringify(asked.body) }),
      ...(asked.address !== undefined && { remoteAddress: asked.address }),
    });
    const body = (answer.body === "" ? undefined : JSON.parse(answer.body)) as T;
    return { status: answer.statusCode, headers: answer.headers, body };
  }

  /** An account that is linked, on an instance that nobody holds. */
  async identity(id: string, workspace = "acme", user = "u1"): Promise<void> {
    await insertIdentity(this.core.database.pool, {
      id,
      workspace_id: workspace,
      user_id: user,
      service: "irc",
      instance: "primary",
      settings: { nick: id, network: "libera", learned_thing: "not for show" },
    });
    await updateIdentity(this.core.database.pool, id, { state: "linked", bridge_state: "connected" });
  }

  /** Actions about a subject of the workspace acme. */
  async trail(subject: string): Promise<string[]> {
    const entries = await auditTrail(this.core.database.pool, { workspaceId: "acme", subject, limit: 100 });
    return entries.map(({ action }) => action);
  }

  /** Commits one event as the worker does. @returns the bytes that were signed */
  async event(text: string, workspace = "acme", account = "alice"): Promise<Buffer> {
    this.#events += 1;
    const remote_id = `m${this.#events}`;
    const messageId = eventId({
      workspace,
      service: "irc",
      home: "primary",
      account,
      kind: "message",
      remoteId: remote_id,
      revision: "0",
    });
    const conversation = `msgr://channels/${workspace}/bridge/irc/libera/%23a`;
    const at = timestamp(new Date());
    const { body, kid, sig } = encode(
      {
        schema: "msgr.bridge.v1",
        service: "irc",
        action: "inbound_event",
        trace_id: traceIdOf(messageId),
        occurred_at: at,
        metadata: {
          issuer: "daemon:irc:primary",
          workspace_id: workspace,
          instance: "primary",
          message_id: messageId,
          conversation,
        },
        payload: {
          kind: "message",
          remote_id,
          revision: "0",
          account,
          sender: { ref: "msgr://identity/bridges/irc/libera/bob", name: "bob", is_self: false },
          sent_at: at,
          text,
        },
      },
      this.#daemon,
    );
    const row = {
      workspaceId: workspace,
      messageId: Buffer.from(messageId, "base64url"),
      content: sha256(body),
      leaf: sha256(body),
      service: "irc",
      account,
      conversation,
      fanOut: true,
      kid,
      sig,
      body,
    };
    await appendEvents(this.core.database.pool, [row]);
    this.core.wakes.local("unsequenced");
    return Buffer.from(body);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#resources.disposeAsync();
  }
}

async function openCore(
  database: Database,
  registry: Registry,
  logged: string[],
  directory: string,
  broker: EmbeddedBroker,
  stack: AsyncDisposableStack,
): Promise<Core> {
  const namespace = await openNamespace(database.pool, "main", 8);
  const signer = signerFromSeed(randomBytes(32));
  await saveKeyRecord(database.pool, {
    kid: signer.kid,
    public_key_b64u: toBase64url(signer.publicKey),
    issuers: ["core"],
    purposes: ["envelope", "ticket"],
    services: ["*"],
    workspaces: ["*"],
    not_before: "2020-01-01T00:00:00.000Z",
    not_after: "2120-01-01T00:00:00.000Z",
  });
  const secrets = new PgSecretStore(database.pool);
  await secrets.migrate();
  const backend = await FileKeyBackend.open({ path: join(directory, "vault.key"), production: false });
  const vault = new EnvelopeVault({ store: secrets, backend, audit: (tx, entry) => audit(tx, entry) });
  await vault.unseal();
  const sink = new Writable({
    write(chunk: Buffer, _encoding, done) {
      logged.push(chunk.toString("utf8"));
      done();
    },
  });
  const now = () => new Date();
  const log = pino({ level: "trace" }, sink);
  const wakes = stack.use(new Wakes());
  wakes.listen(database, log);
  return {
    database,
    bus: stack.use(broker.connect("core")),
    vault,
    signer,
    keys: new KeyRing(await keyRecords(database.pool)),
    namespace: { name: "main", ...namespace, signatures: "required", fanOut: false },
    wakes,
    log,
    now,
    metrics: prometheusMetrics(registry),
    refusals: stack.use(new Refusals(database, { now, log, flushMs: 50 })),
    recording: new Recording(),
    media: {
      store: await DirectoryMediaStore.open(join(directory, "media")),
      limits: { maxBytes: 4 * 1_048_576, quota: { bytes: 64 * 1_048_576, objects: 1_000 } },
    },
  };
}

async function tokenIn(
  core: Core,
  { name, role, workspace }: { name: string; role: Role; workspace: string },
): Promise<string> {
  const token = newToken();
  await insertApiToken(core.database.pool, hashToken(token), { name, role, workspace_id: workspace });
  return token;
}

function sha256(bytes: Uint8Array): Buffer {
  return createHash("sha256").update(bytes).digest();
}

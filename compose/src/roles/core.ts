/** The core of a namespace: its database, its keys, its vault, its worker. */
import { join } from "node:path";
import { KeyRing, type KeyRecord, type Signer, sealKeysFrom } from "@linkspan/envelopes";
import type { Bus } from "@linkspan/fabric";
import {
  audit,
  Database,
  keyRecords,
  migrate,
  openNamespace,
  releaseAllWorkerLeases,
  saveKeyRecord,
} from "@linkspan/store";
import {
  type AuthorityClaim,
  EnvelopeVault,
  FileKeyBackend,
  PgSecretStore,
  serveVault,
  VAULT_REQUESTS,
} from "@linkspan/vault";
import {
  announceKeys,
  type Core,
  followKeys,
  groupedRows,
  type Metrics,
  Recording,
  Refusals,
  requireAuthority,
  rowAuthority,
  speakerOf,
  startWorker,
  WaitingRoom,
  Wakes,
} from "@linkspan/worker";
import type { Logger } from "pino";
import { type Config, isAlone } from "../config.ts";
import { openMedia } from "./media.ts";
import { ownRecord, seedFile, signerFile } from "../keys.ts";

/** The database that the configuration names, or an embedded one in the data directory. */
export async function openDatabase(
  config: Config,
  log: Logger,
  stack: AsyncDisposableStack,
  { signal, temporary = false }: { readonly signal?: AbortSignal; readonly temporary?: boolean } = {},
): Promise<{ readonly database: Database; readonly url: string }> {
  let url = config.database_url;
  if (url === undefined) {
    const { EmbeddedServer } = await import("@linkspan/store/server");
    const ownerUrl = `http://${config.host}:${config.port}`;
    const options = { dataDir: config.data, log, ownerUrl, temporary, ...(signal && { signal }) };
    url = stack.use(await EmbeddedServer.start(options)).url;
  }
  const database = stack.use(new Database(url, { maxConnections: config.database_pool }));
  await migrate(database);
  return { database, url };
}

export interface OpenCore {
  readonly core: Core;
  readonly vault: EnvelopeVault;
  readonly sealSeed: Uint8Array;
}

/** Opens everything that the core's parts share; nothing runs yet. */
export async function openCore(
  config: Config,
  bus: Bus,
  database: Database,
  metrics: Metrics,
  log: Logger,
  stack: AsyncDisposableStack,
): Promise<OpenCore> {
  const namespace = await openNamespace(database.pool, config.namespace, config.partitions);
  if (isAlone(config)) await releaseAllWorkerLeases(database.pool, config.namespace);
  const signer = await signerFile(config.data, "core.seed");
  const sealSeed = await seedFile(config.data, "core.seal");
  await registerCore(database, signer, sealSeed);
  // Each record was validated when it was registered.
  const keys = new KeyRing(await keyRecords(database.pool), { validated: "first use" });
  const vault = await openVault(config, database, log);
  const wakes = stack.use(new Wakes());
  const now = () => new Date();
  const core: Core = {
    database,
    bus,
    vault,
    signer,
    keys,
    namespace: {
      name: config.namespace,
      ...namespace,
      signatures: config.signatures,
      foreignWorkspace: config.foreign_workspace,
      fanOut: config.fan_out === "on",
    },
    wakes,
    log,
    now,
    metrics,
    refusals: stack.use(new Refusals(database, { now, log })),
    accountLimits: { linked: config.accounts_workspace, pending: config.accounts_linking },
    intentLimits: {
      textBytes: config.intent_text_kib * 1_024,
      perIdentity: config.intent_queue_identity,
      perWorkspace: config.intent_queue_workspace,
    },
    media: await openMedia(config, stack),
    waitingRoom: new WaitingRoom(),
    recording: new Recording(),
  };
  wakes.listen(database, log);
  const stop = new AbortController();
  stack.defer(() => stop.abort());
  followKeys(core, stop.signal);
  return { core, vault, sealSeed };
}

/**
 * Starts the worker and the vault's service on the bus.
 *
 * @returns settles when the worker ends; rejects when it failed
 */
export async function runCore(
  { core, vault, sealSeed }: OpenCore,
  stack: AsyncDisposableStack,
): Promise<{ readonly ended: Promise<void> }> {
  await core.bus.declare([VAULT_REQUESTS]);
  stack.use(
    await serveVault({
      bus: core.bus,
      leases: vault.leases,
      rows: groupedRows(vault.rows),
      keys: core.keys,
      signer: core.signer,
      sealKeys: sealKeysFrom(sealSeed),
      partitions: core.namespace.partitions,
      authority: (claim) => authorise(core, claim),
      now: core.now,
      log: core.log,
      refused: ({ kid, code }) =>
        core.refusals.note({ kind: "bus", workspaceId: "_", subject: `key:${kid ?? "none"}`, code }),
    }),
  );
  const worker = stack.use(await startWorker(core));
  return { ended: worker.ended };
}

async function registerCore(database: Database, signer: Signer, sealSeed: Uint8Array): Promise<void> {
  const known = (await keyRecords(database.pool)).find((record) => record.kid === signer.kid);
  if (known !== undefined) return;
  const seal = sealKeysFrom(sealSeed).publicKey;
  const record = ownRecord(
    signer,
    { issuers: ["core"], purposes: ["envelope", "ticket", "checkpoint"], services: ["*"], seal },
    new Date(),
  );
  await saveKeyRecord(database.pool, record);
}

/** Registers a key with the core, in this process and in the others. */
export async function registerKey(core: Core, record: KeyRecord): Promise<void> {
  await saveKeyRecord(core.database.pool, record);
  await core.wakes.everywhere(core.database.pool, "keys");
  await announceKeys(core);
}

async function openVault(config: Config, database: Database, log: Logger): Promise<EnvelopeVault> {
  const store = new PgSecretStore(database.pool);
  await store.migrate();
  const backend = await FileKeyBackend.open({
    path: config.vault_key ?? join(config.data, "vault.key"),
    production: config.profile === "production",
  });
  const vault = new EnvelopeVault({ store, backend, audit: (tx, entry) => audit(tx, entry), rowAuthority });
  const health = await vault.unseal();
  // The process starts although the vault is sealed: readiness reports it, and opening is retried.
  if (health.state === "sealed")
    log.warn({ event: "vault.sealed", reason: health.reason }, "the vault is sealed");
  return vault;
}

/** Only the current holder of the instance that serves an identity gets its credential. */
async function authorise(core: Core, claim: AuthorityClaim): Promise<void> {
  await requireAuthority(core.database.pool, speakerOf(claim.daemon, claim.epoch, claim.kid), claim);
}

/**
 * Enrolling daemons and backends (contract section 11): the client sends a one-time token and public keys,
 * and receives the core's keys. A daemon serves all workspaces and registers two keys. A backend submits
 * intents for the workspaces that its token names, and needs no sealing key.
 */
import {
  FabricError,
  fromBase64url,
  isFabricError,
  type KeyRecord,
  KeyRecordSchema,
  LIMITS,
  seal,
  signEnrolment,
  thumbprint,
  timestamp,
  validatePublicKey,
} from "@linkspan/envelopes";
import {
  audit,
  insertEnrolment,
  isEnrolmentOpen,
  lockKeyRecord,
  saveKeyRecord,
  spendEnrolment,
} from "@linkspan/store";
import { announceKeys, type Core, endReplacedKey } from "@linkspan/worker";
import { z } from "zod";
import { callerOf, requireUnbound } from "../auth/caller.ts";
import { enrolmentTokenOf, hashToken, newEnrolmentToken } from "../auth/secrets.ts";
import type { Routes } from "../context.ts";
import { clientOf } from "../limits/client-address.ts";
import { answers, Instance, Service, Workspace, Written } from "../schemas.ts";
import { present } from "../views.ts";

const tags = ["enrolment"];
export const TOKEN_LIFE_MS = 60 * 60_000;
const KEY_LIFE_MS = 365 * 86_400_000;
/** How far keys are backdated, because clocks of core and daemon may differ. */
const BACKDATED_MS = 60_000;

const Key = z.string().regex(/^[A-Za-z0-9_-]{43}$/, "not 32 bytes in base64url");

export const Issued = z
  .object({
    token: z.string().meta({ description: "good once; shown once" }),
    core_kid: z.string().meta({ description: "the core's key; the token names it, and the daemon pins it" }),
    issuer: z.string().meta({ description: "whom the keys will speak for" }),
    service: z.string().optional().meta({ description: "of a daemon" }),
    instance: z.string().optional().meta({ description: "of a daemon" }),
    backend: z.string().optional().meta({ description: "of a backend" }),
    workspaces: z.array(z.string()).meta({ description: "* for all" }),
    expires_at: Written,
  })
  .meta({ id: "EnrolmentToken" });

const Daemon = z.strictObject({ service: Service, instance: Instance.default("primary") });
const Backend = z.strictObject({
  backend: Instance.meta({ description: "the name in `backend:<name>`" }),
  workspaces: z
    .array(z.union([z.literal("*"), Workspace]))
    .min(1)
    .max(LIMITS.workspaces)
    .meta({ description: "for which it may submit intents; * for all" }),
});

/** The rights of an enrolment, and the parts that are shown. */
export interface Allows {
  readonly issuers: string[];
  readonly services: string[];
  readonly workspaces: string[];
}

/** @param token as issued; shown once */
export function issuedView(
  token: string,
  coreKid: string,
  { issuers, workspaces }: Pick<Allows, "issuers" | "workspaces">,
  expiresAt: Date,
): z.output<typeof Issued> {
  const [issuer = ""] = issuers;
  const [kind, name = "", instance = ""] = issuer.split(":");
  return {
    token,
    core_kid: coreKid,
    issuer,
    ...(kind === "backend" ? { backend: name } : { service: name, instance }),
    workspaces: [...workspaces],
    expires_at: expiresAt.toISOString(),
  };
}

const Enrolled = z
  .object({
    kid: z.string(),
    core_keys: z.array(KeyRecordSchema),
    partitions: z.int(),
    generation: z.int(),
    sig: z.string().meta({
      description: "by the key that the token names, over the canonical form of the members beside it",
    }),
  })
  .meta({ id: "Enrolled" });

export const enrolments: Routes = (app, { core, admission }) => {
  app.post(
    "/v1/enrolment-tokens",
    {
      schema: {
        operationId: "issueEnrolmentToken",
        tags,
        summary: "Let one daemon or backend register its keys; good once, for an hour",
        description:
          "A daemon serves all workspaces, a backend those that are named; the caller's token must be for all of them.",
        body: z.union([Daemon, Backend]),
        response: answers({ 201: Issued }),
      },
    },
    async (request, reply) => {
      const caller = callerOf(request);
      requireUnbound(caller);
      const token = newEnrolmentToken(core.signer.kid);
      const allows = allowsOf(request.body);
      const expiresAt = new Date(core.now().getTime() + TOKEN_LIFE_MS);
      await core.database.transaction(async (client) => {
        await insertEnrolment(client, hashToken(token), allows, expiresAt);
        await audit(client, {
          workspaceId: "_",
          actor: caller.actor,
          action: "enrolment.issued",
          subject: allows.issuers[0] ?? "",
          detail: { workspaces: allows.workspaces },
        });
      });
      const issued = issuedView(token, core.signer.kid, allows, expiresAt);
      return reply.code(201).header("cache-control", "no-store").send(issued);
    },
  );

  app.post(
    "/v1/enrolments",
    {
      schema: {
        operationId: "enrol",
        tags,
        summary: "Register the keys of a daemon or a backend with its one-time token",
        body: z.strictObject({
          token: z.string().max(128),
          public_key_b64u: Key,
          seal_b64u: Key.optional().meta({ description: "a daemon's; a backend needs none" }),
        }),
        response: answers({ 201: Enrolled }),
      },
    },
    async (request, reply) => {
      const { token, public_key_b64u, seal_b64u } = request.body;
      const known = await openToken(core, token).catch((error: unknown) => {
        if (isUnauthorized(error)) admission.failed(clientOf(request));
        throw error;
      });
      const publicKey = bytesOf(public_key_b64u);
      validatePublicKey(publicKey);
      if (seal_b64u !== undefined) await requireSealable(bytesOf(seal_b64u));
      const kid = thumbprint(publicKey);
      await register(core, known, { kid, public_key_b64u, ...present({ seal_b64u: seal_b64u ?? null }) });
      const { partitions, generation } = core.namespace;
      const core_keys = core.keys
        .records()
        .filter((record) => record.issuers.includes("core"))
        .map(copyOf);
      const answer = { kid, core_keys, partitions, generation };
      return reply.code(201).send({ ...answer, sig: signEnrolment(answer, core.signer) });
    },
  );
};

function allowsOf(wanted: z.output<typeof Daemon> | z.output<typeof Backend>): Allows {
  if ("backend" in wanted) {
    // A backend sends requests only to the core itself.
    return { issuers: [`backend:${wanted.backend}`], services: ["core"], workspaces: [...wanted.workspaces] };
  }
  const { service, instance } = wanted;
  return { issuers: [`daemon:${service}:${instance}`], services: [service], workspaces: ["*"] };
}

/**
 * Checked before any computation on the keys, which costs more. @throws FabricError `request.unauthorized`
 */
async function openToken(core: Core, text: string): Promise<string> {
  const token = enrolmentTokenOf(text, core.signer.kid);
  if (token === undefined || !(await isEnrolmentOpen(core.database.pool, hashToken(token)))) throw notGood();
  return token;
}

/** Marks the token as used only when the keys are registered. */
async function register(
  core: Core,
  token: string,
  keys: Pick<KeyRecord, "kid" | "public_key_b64u" | "seal_b64u">,
): Promise<void> {
  const now = core.now().getTime();
  await core.database.transaction(async (client) => {
    const allowed = await spendEnrolment(client, hashToken(token));
    if (allowed === undefined) throw notGood();
    const { issuers, services, workspaces, replaces } = allowed;
    const [kind] = (issuers[0] ?? "").split(":");
    if (kind === "daemon" && keys.seal_b64u === undefined) {
      throw new FabricError("request.invalid", "body.seal_b64u: a daemon needs a key to be sealed to");
    }
    // Otherwise anybody who knows a public key could take over its record, even the core's.
    if ((await lockKeyRecord(client, keys.kid)) !== undefined) {
      throw new FabricError("request.invalid", "body.public_key_b64u: this key was registered before");
    }
    await saveKeyRecord(client, {
      ...keys,
      issuers,
      services,
      workspaces,
      purposes: ["envelope"],
      not_before: timestamp(new Date(now - BACKDATED_MS)),
      not_after: timestamp(new Date(now + KEY_LIFE_MS)),
    });
    await endReplacedKey(core, client, allowed);
    await audit(client, {
      workspaceId: "_",
      actor: issuers[0] ?? "",
      action: `${kind}.${replaces === null ? "enrolled" : "key_rotated"}`,
      subject: keys.kid,
      detail: { issuers, ...(replaces !== null && { replaces }) },
    });
    await core.wakes.everywhere(client, "keys");
  });
  await announceKeys(core);
}

function isUnauthorized(error: unknown): boolean {
  return isFabricError(error) && error.code === "request.unauthorized";
}

function notGood(): FabricError {
  return new FabricError(
    "request.unauthorized",
    "the enrolment token is unknown, used, too old or of another core",
  );
}

function bytesOf(text: string): Uint8Array {
  const bytes = fromBase64url(text);
  if (bytes?.byteLength !== 32)
    throw new FabricError("request.invalid", "a key is not 32 bytes in base64url");
  return bytes;
}

/** Checks a sealing key by sealing with it. @throws FabricError `envelope.unknown_key` */
async function requireSealable(key: Uint8Array): Promise<void> {
  await seal(key, new Uint8Array(), {});
}

export function copyOf(record: KeyRecord): z.output<typeof KeyRecordSchema> {
  const { issuers, purposes, services, workspaces, ...rest } = record;
  return {
    ...rest,
    issuers: [...issuers],
    purposes: [...purposes],
    services: [...services],
    workspaces: [...workspaces],
  };
}

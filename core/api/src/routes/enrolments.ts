/** Enrolling daemons (contract section 11): a one-time token, then two public keys for the core's. */
import {
  FabricError,
  fromBase64url,
  type KeyRecord,
  KeyRecordSchema,
  seal,
  SERVICES,
  thumbprint,
  timestamp,
  validatePublicKey,
} from "@linkspan/envelopes";
import { audit, insertEnrolment, keyRecords, saveKeyRecord, spendEnrolment } from "@linkspan/store";
import type { Core } from "@linkspan/worker";
import { z } from "zod";
import { callerOf, requireUnbound } from "../auth/caller.ts";
import { hashToken, newToken, tokenOf } from "../auth/secrets.ts";
import type { Routes } from "../context.ts";
import { answers, Instance, Written } from "../schemas.ts";

const tags = ["enrolment"];
const TOKEN_LIFE_MS = 60 * 60_000;
const KEY_LIFE_MS = 365 * 86_400_000;
/** Clocks of core and daemon may differ. */
const BACKDATED_MS = 60_000;

const DAEMON_SERVICES = SERVICES.filter((service) => service !== "core" && service !== "vault");
const Key = z.string().regex(/^[A-Za-z0-9_-]{43}$/, "not 32 bytes in base64url");

const Issued = z
  .object({
    token: z.string().meta({ description: "good once; shown once" }),
    core_kid: z.string().meta({ description: "the key that the daemon must be shown" }),
    service: z.string(),
    instance: z.string(),
    expires_at: Written,
  })
  .meta({ id: "EnrolmentToken" });

const Enrolled = z
  .object({
    kid: z.string(),
    core_keys: z.array(KeyRecordSchema),
    partitions: z.int(),
    generation: z.int(),
  })
  .meta({ id: "Enrolled" });

export const enrolments: Routes = (app, { core }) => {
  app.post(
    "/v1/enrolment-tokens",
    {
      schema: {
        operationId: "issueEnrolmentToken",
        tags,
        summary: "Let one daemon register its keys; good once, for an hour",
        description: "A daemon serves all workspaces, so the caller's token must be for all of them.",
        body: z.strictObject({ service: z.enum(DAEMON_SERVICES), instance: Instance.default("primary") }),
        response: answers({ 201: Issued }),
      },
    },
    async (request, reply) => {
      const caller = callerOf(request);
      requireUnbound(caller);
      const { service, instance } = request.body;
      const token = newToken("lse");
      const issuer = `daemon:${service}:${instance}`;
      const expiresAt = new Date(core.now().getTime() + TOKEN_LIFE_MS);
      await core.database.transaction(async (client) => {
        const allows = { issuers: [issuer], services: [service], workspaces: ["*"] };
        await insertEnrolment(client, hashToken(token), allows, expiresAt);
        await audit(client, {
          workspaceId: "_",
          actor: caller.actor,
          action: "enrolment.issued",
          subject: issuer,
        });
      });
      return reply.code(201).header("cache-control", "no-store").send({
        token,
        core_kid: core.signer.kid,
        service,
        instance,
        expires_at: expiresAt.toISOString(),
      });
    },
  );

  app.post(
    "/v1/enrolments",
    {
      schema: {
        operationId: "enrol",
        tags,
        summary: "Register a daemon's keys with its one-time token",
        body: z.strictObject({ token: z.string().max(128), public_key_b64u: Key, seal_b64u: Key }),
        response: answers({ 201: Enrolled }),
      },
    },
    async (request, reply) => {
      const { token, public_key_b64u, seal_b64u } = request.body;
      const publicKey = bytesOf(public_key_b64u);
      validatePublicKey(publicKey);
      await requireSealable(bytesOf(seal_b64u));
      const kid = thumbprint(publicKey);
      await register(core, token, { kid, public_key_b64u, seal_b64u });
      const { partitions, generation } = core.namespace;
      const core_keys = core.keys.records().filter((record) => record.issuers.includes("core"));
      return reply.code(201).send({ kid, core_keys: core_keys.map(copyOf), partitions, generation });
    },
  );
};

/** Spends the token only when the keys are registered. */
async function register(
  core: Core,
  token: string,
  keys: Required<Pick<KeyRecord, "kid" | "public_key_b64u" | "seal_b64u">>,
): Promise<void> {
  const known = tokenOf(token, "lse");
  const now = core.now().getTime();
  await core.database.transaction(async (client) => {
    const allowed = known === undefined ? undefined : await spendEnrolment(client, hashToken(known));
    if (allowed === undefined) {
      throw new FabricError("request.unauthorized", "the enrolment token is unknown, used or too old");
    }
    // Whoever knows a public key could else take over its record, the core's included.
    if ((await keyRecords(client)).some((record) => record.kid === keys.kid)) {
      throw new FabricError("request.invalid", "body.public_key_b64u: this key was registered before");
    }
    await saveKeyRecord(client, {
      ...keys,
      ...allowed,
      purposes: ["envelope"],
      not_before: timestamp(new Date(now - BACKDATED_MS)),
      not_after: timestamp(new Date(now + KEY_LIFE_MS)),
    });
    await audit(client, {
      workspaceId: "_",
      actor: allowed.issuers[0] ?? "",
      action: "daemon.enrolled",
      subject: keys.kid,
      detail: { issuers: allowed.issuers },
    });
    await core.wakes.everywhere(client, "keys");
  });
  core.keys.replace(await keyRecords(core.database.pool));
}

function bytesOf(text: string): Uint8Array {
  const bytes = fromBase64url(text);
  if (bytes?.byteLength !== 32)
    throw new FabricError("request.invalid", "a key is not 32 bytes in base64url");
  return bytes;
}

/** Sealing something is the test that counts. @throws FabricError `envelope.unknown_key` */
async function requireSealable(key: Uint8Array): Promise<void> {
  await seal(key, new Uint8Array(), {});
}

function copyOf(record: KeyRecord): z.output<typeof KeyRecordSchema> {
  const { issuers, purposes, services, workspaces, ...rest } = record;
  return {
    ...rest,
    issuers: [...issuers],
    purposes: [...purposes],
    services: [...services],
    workspaces: [...workspaces],
  };
}

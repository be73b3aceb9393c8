/**
 * Keys of daemons and backends: lists the registered keys, ends one now, replaces one. For callers with a
 * token for all workspaces.
 */
import type { KeyRecord } from "@linkspan/envelopes";
import { audit, insertEnrolment, listKeys } from "@linkspan/store";
import { replaceableKey, revokeKey } from "@linkspan/worker";
import { z } from "zod";
import { callerOf, requireUnbound } from "../auth/caller.ts";
import { hashToken, newEnrolmentToken } from "../auth/secrets.ts";
import type { Routes } from "../context.ts";
import { answers, limitOf, Name, Nothing, Written } from "../schemas.ts";
import { present } from "../views.ts";
import { issuedView, Issued, TOKEN_LIFE_MS } from "./enrolments.ts";

const tags = ["keys"];
const MAX_GRACE_S = 7 * 86_400;

const Kid = z.string().regex(/^[A-Za-z0-9_-]{43}$/, "not a key id");
const params = z.object({ kid: Kid });

const KeyView = z
  .object({
    kid: z.string(),
    issuers: z.array(z.string()).meta({ description: "whom it may speak for" }),
    services: z.array(z.string()),
    workspaces: z.array(z.string()).meta({ description: "* for all" }),
    state: z.enum(["in_force", "not_yet", "run_out", "revoked"]),
    not_before: Written,
    not_after: Written,
    revoked_at: Written.optional(),
    registered_at: Written,
  })
  .meta({ id: "Key" });

const KeyPage = z
  .object({ keys: z.array(KeyView), next_after: z.string().optional() })
  .meta({ id: "KeyPage" });

export const keys: Routes = (app, { core }) => {
  app.get(
    "/v1/keys",
    {
      schema: {
        operationId: "listKeys",
        tags,
        summary: "Keys of the core, of daemons and backends, oldest first",
        querystring: z.object({
          limit: limitOf(100, 500),
          after: Kid.optional().meta({ description: "next_after of the page before" }),
        }),
        response: answers({ 200: KeyPage }),
      },
    },
    async (request) => {
      requireUnbound(callerOf(request));
      const { limit, after } = request.query;
      const rows = await listKeys(core.database.pool, { limit, ...(after !== undefined && { after }) });
      const last = rows.length === limit ? rows.at(-1) : undefined;
      return {
        keys: rows.map(({ record, created_at }) => keyView(record, created_at, core.now())),
        ...(last !== undefined && { next_after: last.record.kid }),
      };
    },
  );

  app.post(
    "/v1/keys/:kid/revoke",
    {
      schema: {
        operationId: "revokeKey",
        tags,
        summary: "End a key now, in every process within a second; it stays ended",
        params,
        body: z.strictObject({ why: Name }),
        response: answers({ 204: Nothing }),
      },
    },
    async (request, reply) => {
      const caller = callerOf(request);
      requireUnbound(caller);
      const { kid } = request.params;
      await revokeKey(core, { kid, why: request.body.why, actor: caller.actor });
      return reply.code(204).send();
    },
  );

  app.post(
    "/v1/keys/:kid/rotate",
    {
      schema: {
        operationId: "rotateKey",
        tags,
        summary: "A one-time token with which its daemon or backend registers a new key in place of this one",
        description: "The old key ends when the new one is registered, or so many seconds later.",
        params,
        body: z.strictObject({ grace_s: z.int().min(0).max(MAX_GRACE_S).default(0) }),
        response: answers({ 201: Issued }),
      },
    },
    async (request, reply) => {
      const caller = callerOf(request);
      requireUnbound(caller);
      const { kid } = request.params;
      const token = newEnrolmentToken(core.signer.kid);
      const expiresAt = new Date(core.now().getTime() + TOKEN_LIFE_MS);
      const allowed = await core.database.transaction(async (client) => {
        const { issuers, services, workspaces } = await replaceableKey(client, kid);
        const holder = { issuers: [...issuers], services: [...services], workspaces: [...workspaces] };
        const enrolment = { ...holder, replaces: kid, grace_s: request.body.grace_s };
        await insertEnrolment(client, hashToken(token), enrolment, expiresAt);
        await audit(client, {
          workspaceId: "_",
          actor: caller.actor,
          action: `${holder.issuers[0]?.split(":", 1)[0] ?? "daemon"}.rotation_issued`,
          subject: kid,
          detail: { issuers, grace_s: request.body.grace_s },
        });
        return holder;
      });
      const issued = issuedView(token, core.signer.kid, allowed, expiresAt);
      return reply.code(201).header("cache-control", "no-store").send(issued);
    },
  );
};

function keyView(record: KeyRecord, registeredAt: Date, now: Date): z.output<typeof KeyView> {
  const { kid, issuers, services, workspaces, not_before, not_after, revoked_at } = record;
  return {
    kid,
    issuers: [...issuers],
    services: [...services],
    workspaces: [...workspaces],
    state: stateOf(record, now),
    not_before,
    not_after,
    registered_at: registeredAt.toISOString(),
    ...present({ revoked_at: revoked_at ?? null }),
  };
}

function stateOf(record: KeyRecord, now: Date): z.output<typeof KeyView>["state"] {
  const at = now.toISOString();
  if (record.revoked_at !== undefined && record.revoked_at <= at) return "revoked";
  if (record.not_after <= at) return "run_out";
  return record.not_before > at ? "not_yet" : "in_force";
}

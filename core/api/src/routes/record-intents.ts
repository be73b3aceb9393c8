/** What backends want to send: one intent with its key in the header, or a list whose members each have their own. */
import { FabricError } from "@linkspan/envelopes";
import { type IntentRequest, recordIntent, recordIntents } from "@linkspan/worker";
import type { FastifySchemaCompiler } from "fastify";
import { validatorCompiler } from "fastify-type-provider-zod";
import { z } from "zod";
import { type Caller, callerOf } from "../auth/caller.ts";
import type { Routes } from "../context.ts";
import { BODY_BYTES, MAX_INTENTS } from "../limits/limits.ts";
import { problemOf, ProblemSchema, statusOf, toFabricError } from "../problem.ts";
import { answers, Name, Open, Service, Time } from "../schemas.ts";
import { intentView, IntentView } from "../views.ts";

const NewIntent = z.strictObject({
  identity_id: Name,
  user_id: Name.optional().meta({ description: "default: the identity's user" }),
  service: Service.optional().meta({ description: "must be the identity's, if given" }),
  action: z
    .string()
    .regex(/^[a-z][a-z0-9_]{0,63}$/)
    .default("outbound_message"),
  conversation: z.string().max(2_048).optional().meta({ description: "a msgr://channels/ reference" }),
  payload: Open,
  expires_at: Time.optional().meta({ description: "default: in a day" }),
});

const Key = z.string().regex(/^[\x21-\x7e]{1,255}$/, "not 1 to 255 visible ASCII characters");

const KeyHeader = z
  .object({ "idempotency-key": Key.optional().meta({ description: "required, except with a list" }) })
  .loose();

const Member = z.strictObject({ idempotency_key: Key, ...NewIntent.shape });

/** Checked one by one, so that a member that is wrong is refused alone; the document shows what is checked. */
const UncheckedMember = z.unknown().meta(documented(Member));

const IntentList = z.strictObject({ intents: z.array(UncheckedMember).min(1).max(MAX_INTENTS) });

const Recorded = z
  .object({
    results: z
      .array(
        z.object({
          status: z.int().meta({ description: "as the member would have had by itself" }),
          intent: IntentView.optional().meta({ description: "when it was recorded" }),
          problem: ProblemSchema.optional().meta({ description: "when it was not" }),
        }),
      )
      .meta({ description: "one for each member, in the order of the request" }),
  })
  .meta({ id: "RecordedIntents" });

const RECORDED = 202;

export const recordIntentRoutes: Routes = (app, { core, admission }) => {
  app.post(
    "/v1/intents",
    {
      bodyLimit: BODY_BYTES.intent,
      config: { isEnvelope: true },
      validatorCompiler: byForm,
      schema: {
        operationId: "recordIntent",
        tags: ["intents"],
        summary: "Send a message as a linked identity, or many messages at once",
        description:
          "The same Idempotency-Key with the same body gives the same intent; with another body, 409. " +
          `A list of up to ${MAX_INTENTS} members, each with its idempotency_key, is answered 200 with a result ` +
          "for each: a fault of one does not affect the others, and members of one conversation are sent " +
          "in their order. Rates count members.",
        headers: KeyHeader,
        body: z.union([NewIntent, IntentList]),
        response: answers({ 200: Recorded, [RECORDED]: IntentView }),
      },
    },
    async (request, reply) => {
      const caller = callerOf(request);
      const { body } = request;
      if ("intents" in body) {
        await charge(body.intents.length - 1, caller, admission);
        request.endTurn();
        const members = body.intents.map((member) => memberOf(member, caller));
        return reply.code(200).send({ results: await recordAll(members, request.id, caller) });
      }
      const idempotencyKey = request.headers["idempotency-key"];
      if (idempotencyKey === undefined)
        throw new FabricError(
          "request.invalid",
          "headers.idempotency-key: the header Idempotency-Key is missing",
        );
      // Those who record have turns of their own: workspaces one after the other, and one transaction for many.
      request.endTurn();
      const { intent } = await recordIntent(
        core,
        toRequest({ ...body, idempotency_key: idempotencyKey }, caller),
      );
      return reply.code(RECORDED).header("location", `/v1/intents/${intent.id}`).send(intentView(intent));
    },
  );

  /** What is wrong with a member is paid for like a request that is refused. */
  async function recordAll(
    members: readonly (IntentRequest | FabricError)[],
    requestId: string,
    caller: Caller,
  ): Promise<z.output<typeof Recorded>["results"]> {
    const sound = members.flatMap((member) => (member instanceof FabricError ? [] : [member]));
    const outcomes = (await recordIntents(core, sound)).values();
    const results = members.map((member) => {
      const outcome =
        member instanceof FabricError ? failed(member) : (outcomes.next().value ?? failed(undefined));
      if (outcome.status === "fulfilled")
        return { status: RECORDED, intent: intentView(outcome.value.intent) };
      const error = toFabricError(outcome.reason);
      return { status: statusOf(error.code), problem: problemOf(error, requestId) };
    });
    for (const { status } of results)
      if (status >= 400 && status < 500 && status !== 429) admission.mistaken(caller);
    const faults = results.flatMap(({ status, problem }) => (status >= 500 && problem ? [problem.code] : []));
    if (faults.length > 0) {
      core.log.error(
        { event: "intents.failed", request_id: requestId, codes: [...new Set(faults)], count: faults.length },
        "members of a list were not recorded",
      );
    }
    return results;
  }
};

/** Members beyond the first, which the request itself counts for. */
async function charge(
  more: number,
  caller: Caller,
  admission: Parameters<Routes>[1]["admission"],
): Promise<void> {
  try {
    admission.more(caller, more);
  } catch (error) {
    await admission.beforeRefusal();
    throw error;
  }
}

function failed(reason: unknown): PromiseRejectedResult {
  return { status: "rejected", reason };
}

function memberOf(value: unknown, caller: Caller): IntentRequest | FabricError {
  const member = Member.safeParse(value);
  if (member.success) return toRequest(member.data, caller);
  const [issue] = member.error.issues;
  const where = issue?.path.join(".") ?? "";
  return new FabricError("request.invalid", `${where}: ${issue?.message ?? "invalid"}`);
}

function toRequest(wanted: z.output<typeof Member>, { workspaceId, actor }: Caller): IntentRequest {
  return {
    workspaceId,
    identityId: wanted.identity_id,
    action: wanted.action,
    payload: wanted.payload,
    idempotencyKey: wanted.idempotency_key,
    actor,
    ...(wanted.user_id !== undefined && { userId: wanted.user_id }),
    ...(wanted.service !== undefined && { service: wanted.service }),
    ...(wanted.conversation !== undefined && { conversation: wanted.conversation }),
    ...(wanted.expires_at !== undefined && { expiresAt: new Date(wanted.expires_at) }),
  };
}

/** A body is held against the form that it has, so that what is wrong with it is told exactly. */
const byForm: FastifySchemaCompiler<unknown> = ({ schema, ...route }) => {
  const check = (form: unknown) => validatorCompiler({ ...route, schema: form as z.ZodType });
  if (route.httpPart !== "body") return check(schema);
  const [one, list] = [check(NewIntent), check(IntentList)];
  return (body: unknown) =>
    typeof body === "object" && body !== null && "intents" in body ? list(body) : one(body);
};

function documented(schema: z.ZodType): Record<string, unknown> {
  const { $schema: _, ...described } = z.toJSONSchema(schema, { io: "input" });
  return described;
}

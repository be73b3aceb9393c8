/** Requests to the core on the bus: each is verified and answered once, and the answer is signed. */
import {
  type AttemptAnswers,
  type Envelope,
  type ErrorCode,
  FabricError,
  isFabricError,
  NAMESPACE_WORKSPACE,
  type Opened,
} from "@linkspan/envelopes";
import { ACK, type Outgoing, type Prepared, type Subscription } from "@linkspan/fabric";
import type { Core } from "./core.ts";
import { type Verified, verify } from "./inbound/intake.ts";
import { Attempts } from "./outbound/attempts.ts";
import { answerSubmit } from "./outbound/submit.ts";
import { answerTo, refusal } from "./send.ts";
import { answerHello } from "./sync/hello.ts";
import { answerResume } from "./sync/resume.ts";
import { REQUESTS } from "./topology.ts";

export async function startRequests(core: Core): Promise<Subscription> {
  await core.bus.declare([REQUESTS]);
  const attempts = new Attempts(core);
  return core.bus.subscribe<Verified>(
    REQUESTS,
    {
      prepare: (batch) => verify(core, batch),
      handle: async (batch) => {
        await Promise.all(batch.map((item) => serve(core, attempts, item)));
        return batch.map(() => ACK);
      },
      keyOf: ({ delivery }) => delivery.messageId ?? "",
    },
    { lingerMs: 0, maxBatch: 64 },
  );
}

/** A requester that no longer waits, and one that cannot be verified, get no answer. */
async function serve(core: Core, attempts: Attempts, { delivery, value }: Prepared<Verified>): Promise<void> {
  if (isFabricError(value)) {
    core.metrics.quarantined(value.code);
    core.log.warn(
      { event: "request.refused", code: value.code, action: delivery.route.action },
      "refused a request",
    );
    noteRefusal(core, delivery.kid, value);
    return;
  }
  const payload = await answerOrRefusal(core, attempts, value);
  const { replyTo, correlationId } = delivery;
  if (replyTo === undefined) return;
  try {
    await core.bus.reply(replyTo, { ...answerOf(core, value.envelope, payload), correlationId });
  } catch (error) {
    core.log.debug(
      { event: "reply.dropped", action: delivery.route.action, err: error },
      "an answer was not delivered",
    );
  }
}

/** If no envelope can hold the answer, only this request fails. */
function answerOf(core: Core, request: Envelope, payload: Record<string, unknown>): Outgoing {
  try {
    return answerTo(core, request, payload);
  } catch (error) {
    core.log.error(
      { event: "request.unanswerable", action: request.action, err: error },
      "an answer cannot be created",
    );
    return answerTo(core, request, refusal(error));
  }
}

async function answerOrRefusal(
  core: Core,
  attempts: Attempts,
  opened: Opened,
): Promise<Record<string, unknown>> {
  try {
    const payload = { ...(await answer(core, attempts, opened)) };
    if ("answers" in payload) noteMembers(core, opened.kid, payload as AttemptAnswers);
    return payload;
  } catch (error) {
    if (!isFabricError(error)) {
      core.log.error({ event: "request.failed", action: opened.action.name, err: error }, "a request failed");
    }
    if (isFabricError(error) && UNAUTHORISED.has(error.code)) noteRefusal(core, opened.kid, error);
    return refusal(error);
  }
}

/** Codes of refusals that concern the requester. */
const UNAUTHORISED: ReadonlySet<ErrorCode> = new Set(["envelope.wrong_issuer", "envelope.unsigned"]);

function noteRefusal(
  { refusals }: Core,
  kid: string | undefined,
  { code }: { readonly code: ErrorCode },
): void {
  refusals.note({ kind: "bus", workspaceId: NAMESPACE_WORKSPACE, subject: `key:${kid ?? "none"}`, code });
}

/** What was refused of a batch, once for each code. */
function noteMembers(core: Core, kid: string | undefined, { answers }: AttemptAnswers): void {
  const codes = new Set(answers.flatMap((one) => ("error" in one ? [one.error.code] : [])));
  for (const code of codes) if (UNAUTHORISED.has(code)) noteRefusal(core, kid, { code });
}

function answer(core: Core, attempts: Attempts, { action, envelope, kid }: Opened): Promise<object> {
  switch (action.name) {
    case "hello":
      return answerHello(core, envelope, kid);
    case "resume":
      return answerResume(core, envelope, kid);
    case "attempt":
      return attempts.answer(envelope, kid);
    case "submit_intent":
      return answerSubmit(core, envelope);
    default:
      throw new FabricError("action.unsupported", `the core does not serve ${action.name}`);
  }
}

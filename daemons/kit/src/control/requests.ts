/**
 * Requests of the core to this instance: link flows, disconnecting, settings, health. Each gets one reply.
 */
import {
  CODES,
  type Disconnect,
  FabricError,
  isFabricError,
  type LinkReply,
  type Opened,
} from "@linkspan/envelopes";
import type { Bus, Delivery, Outgoing } from "@linkspan/fabric";
import type { Identities } from "../identity/identities.ts";
import type { HealthReport } from "./health.ts";
import { clip } from "../shared/clip.ts";
import { type LinkContext, tryLink } from "./link.ts";

export interface RequestContext extends LinkContext {
  readonly bus: Bus;
  readonly identities: Identities;
  readonly health: () => HealthReport;
}

type Reply = LinkReply | { readonly status: string } | HealthReport;

/** Carries out one request and answers it; never rejects. */
export async function answerRequest(
  opened: Opened,
  { replyTo, correlationId }: Pick<Delivery, "replyTo" | "correlationId">,
  context: RequestContext,
): Promise<void> {
  const { envelope } = opened;
  const { log, bus, author, signal } = context;
  const trace = { action: envelope.action, trace_id: envelope.trace_id };
  try {
    const reply: Reply | ReturnType<typeof refusalOf> = await carryOut(opened, context).catch(
      (error: unknown) => {
        if (!signal.aborted) log.warn({ event: "request.failed", ...trace, err: error });
        return refusalOf(error);
      },
    );
    signal.throwIfAborted();
    const outcome = "status" in reply ? reply.status : "error";
    log.info({ event: "request.answered", ...trace, outcome });
    if (replyTo === undefined) return;
    await bus.reply(replyTo, { ...written(envelope, outcome, reply, author), correlationId });
  } catch (error) {
    log.warn({ event: "request.unanswered", ...trace, err: error });
  }
}

/** An answer that does not fit an envelope becomes a refusal, so that the requester does not wait in vain. */
function written(
  envelope: Opened["envelope"],
  outcome: string,
  reply: object,
  author: RequestContext["author"],
): Outgoing {
  try {
    return author.reply(envelope, outcome, { ...reply });
  } catch (error) {
    return author.reply(envelope, "error", refusalOf(error));
  }
}

async function carryOut({ envelope, action }: Opened, context: RequestContext): Promise<Reply> {
  const { identities } = context;
  switch (action.canonical) {
    case "link_account":
      return tryLink(envelope, context);
    case "reauthenticate":
      return reauthenticate(envelope, context);
    case "disconnect": {
      const { identity_id } = envelope.payload as Disconnect;
      await identities.close(identity_id, { state: "logged_out", message: "The account was disconnected." });
      return { status: "disconnected" };
    }
    case "configure_bridge":
      await identities.refresh();
      return { status: "configured" };
    case "health_snapshot":
      return context.health();
    default:
      throw new FabricError("action.unsupported", `${envelope.action} is not served here`);
  }
}

/**
 * The open connection is closed for the try, and is opened again afterwards with the new login, or with the
 * old one.
 */
async function reauthenticate(envelope: Opened["envelope"], context: RequestContext): Promise<LinkReply> {
  const { identities } = context;
  const identityId = envelope.metadata.identity_id;
  if (identityId !== undefined) await identities.close(identityId);
  try {
    return await tryLink(envelope, context);
  } finally {
    await identities.refresh();
  }
}

function refusalOf(error: unknown) {
  const code = isFabricError(error) ? error.code : "internal";
  const detail = isFabricError(error) ? clip(error.message) : CODES.internal.help;
  const retryAfterMs = isFabricError(error) ? error.retryAfterMs : undefined;
  return { error: { code, detail, ...(retryAfterMs !== undefined && { retry_after_ms: retryAfterMs }) } };
}

/**
 * `bridge/core/attempt`: may I say this part now?
 *
 * This is the last gate and the only one that counts: it commits `attempting` before it answers `go`, so a
 * part is touched at most once however often its intent is published. What the answers mean:
 *
 *   go         write it, within the window, on your monotonic clock since before you asked
 *   sent       it was said; here is its id
 *   uncertain  somebody was granted it and never reported: look on the platform, never say it again by guess
 *   stop       leave it: cancelled, expired, denied, superseded, or settled
 *
 * The same question (same message id) is answered anew, so a lost reply costs nothing but time: who asks
 * again has written nothing.
 */
import {
  type AttemptReply,
  type AttemptRequest,
  type Envelope,
  type ErrorCode,
  FabricError,
} from "@linkspan/envelopes";
import { identityById, type Intent, lockIntent, type Queryable } from "@linkspan/store";
import { type AfterCommit, committed } from "../after-commit.ts";
import { objectionToIdentity, requireAuthority, speakerOf } from "../authority.ts";
import type { Core } from "../core.ts";
import { objectionTo } from "../policy/decide.ts";
import { inDoubt, isSettled } from "./states.ts";
import { transition } from "./transition.ts";

/** How long a daemon may touch the platform after asking. */
export const WINDOW_MS = 15_000;

/** @throws FabricError `lease.lost`, `envelope.wrong_issuer`, `request.not_found` */
export function answerAttempt(
  core: Core,
  envelope: Envelope,
  kid: string | undefined,
): Promise<AttemptReply> {
  return committed(core, async (client, after) => {
    const { issuer, epoch, workspace_id: workspaceId } = envelope.metadata;
    const speaker = speakerOf(issuer, epoch, kid);
    await requireAuthority(client, speaker);
    const ask = envelope.payload as AttemptRequest;
    const intent = await lockIntent(client, ask.intent_id);
    if (intent === undefined || intent.workspace_id !== workspaceId) {
      throw new FabricError("request.not_found", "no such intent");
    }
    const identity = await identityById(client, intent.identity_id);
    const objection = objectionToIdentity("outcome", speaker, workspaceId, identity);
    if (objection !== undefined) throw objection;
    return (
      settled(intent, ask) ??
      unreported(intent, envelope, ask) ??
      decideNow(core, client, after, intent, envelope, ask)
    );
  });
}

function settled(intent: Intent, ask: AttemptRequest): AttemptReply | undefined {
  if (ask.attempt !== intent.attempt) return { decision: "stop", code: "ticket.replayed" };
  if (ask.part < intent.part) return earlier(intent, ask.part);
  if (isSettled(intent.state)) return { decision: "stop" };
  return undefined;
}

/** Another part was granted since, so this one was said or is in doubt; either way it is not said again. */
function earlier(intent: Intent, part: number): AttemptReply {
  const said = intent.remote_ids[part];
  return said === undefined || said === ""
    ? { decision: "uncertain" }
    : { decision: "sent", remote_id: said };
}

/** Granted before and not reported: in doubt, unless it is the same question, which nobody had an answer to. */
function unreported(intent: Intent, envelope: Envelope, ask: AttemptRequest): AttemptReply | undefined {
  if (!inDoubt(intent) || intent.part !== ask.part) return undefined;
  return intent.ask_id === envelope.metadata.message_id ? undefined : { decision: "uncertain" };
}

async function decideNow(
  core: Core,
  on: Queryable,
  after: AfterCommit,
  intent: Intent,
  envelope: Envelope,
  ask: AttemptRequest,
): Promise<AttemptReply> {
  const refuse = async (
    to: "expired" | "denied",
    code: ErrorCode,
    detail?: string,
  ): Promise<AttemptReply> => {
    // Who asks the same question again has written nothing; of an earlier part that is not known.
    const unsaid = intent.part === ask.part ? { ...intent, ask_id: null } : intent;
    await transition(core, on, after, unsaid, "gate", { to, actor: "core", code, detail });
    return { decision: "stop", code };
  };
  if (intent.expires_at !== null && intent.expires_at <= core.now())
    return refuse("expired", "envelope.expired");
  const objection = await objectionTo(on, intent);
  if (objection !== undefined) return refuse("denied", objection.code, objection.reason);
  const granted = await transition(core, on, after, intent, "grant", {
    to: "attempting",
    actor: envelope.metadata.issuer,
    row: {
      part: ask.part,
      parts: ask.parts,
      askId: envelope.metadata.message_id,
      askEpoch: envelope.metadata.epoch ?? null,
      goUntil: new Date(core.now().getTime() + WINDOW_MS),
    },
    audit: { part: ask.part, parts: ask.parts },
  });
  return granted === undefined ? { decision: "stop" } : { decision: "go", window_ms: WINDOW_MS };
}

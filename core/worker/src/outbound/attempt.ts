/**
 * The decision of `bridge/core/attempt`: may I say this part now? Many questions are decided in one transaction, each
 * separately.
 *
 * This is the last gate and the only one that counts: it commits `attempting` before it answers `go`, so a
 * part is touched at most once however often its intent is published. What the answers mean:
 *
 *   go         write it, within the window, on your monotonic clock since before you asked
 *   sent       it was said; here is its id
 *   uncertain  somebody was granted it and never reported: look on the platform, never say it again by guess
 *   stop       leave it: cancelled, expired, denied, superseded, or settled
 *
 * The same question (same message id, same place in it) is answered anew, so a lost reply costs nothing but time: who
 * asks again has written nothing.
 */
import { type AttemptReply, type AttemptRequest, type ErrorCode, FabricError } from "@linkspan/envelopes";
import {
  currentLeases,
  identitiesById,
  type Identity,
  type Lease,
  type LockedIntent,
  lockIntents,
  type Queryable,
  type StandingIntent,
} from "@linkspan/store";
import { committed } from "../after-commit.ts";
import { objectionToIdentity, objectionToLease, type Speaker } from "../authority.ts";
import type { Core } from "../core.ts";
import { type ConnectorSwitch, connectorSwitch } from "../flags/switch.ts";
import { objectionBy } from "../policy/decide.ts";
import { inDoubt, isSettled } from "./states.ts";
import { Moves } from "./transition.ts";

/** How long a daemon may touch the platform after asking. */
export const WINDOW_MS = 15_000;

/** Whether its time has run out. */
export function isOver({ expires_at, locked_at }: LockedIntent): boolean {
  return expires_at !== null && expires_at <= locked_at;
}

/** When a part that is granted now may not be said any more. */
export function windowEnd({ locked_at }: LockedIntent): Date {
  return new Date(locked_at.getTime() + WINDOW_MS);
}

/** One part that may be said or not. */
export interface Question {
  /** Names the question; the same question is answered again. */
  readonly id: string;
  readonly ask: AttemptRequest;
  readonly workspaceId: string;
  readonly issuer: string;
  readonly speaker: Speaker;
}

export type Verdict = AttemptReply | FabricError;

/** Decides one after the other, as if each came alone, and writes the moves together. */
export function decideAll(
  core: Core,
  questions: readonly Question[],
): Promise<ReadonlyMap<Question, Verdict>> {
  return committed(core, async (on, after) => {
    const facts = await factsOf(on, questions);
    const moves = new Moves(core, after);
    const verdicts = new Map(
      questions.map((question) => [question, decide(moves, facts, question)] as const),
    );
    await moves.write(on);
    return verdicts;
  });
}

interface Facts {
  /** By `<service> <instance>`. */
  readonly leases: ReadonlyMap<string, Lease>;
  /** Locked rows, as they are after the decisions so far. */
  readonly intents: Map<string, LockedIntent>;
  readonly identities: ReadonlyMap<string, Identity>;
  readonly enabled: ConnectorSwitch;
}

/** Reads everything else after the intents are locked, so that the decisions use the current rows. */
async function factsOf(on: Queryable, questions: readonly Question[]): Promise<Facts> {
  const intents = await lockIntents(
    on,
    questions.map(({ ask, workspaceId }) => ({ id: ask.intent_id, workspaceId })),
  );
  const speakers = new Map(questions.map(({ speaker }) => [keyOf(speaker), speaker]));
  const leases = await currentLeases(on, [...speakers.values()]);
  const identities = await identitiesById(on, [...new Set(intents.map((intent) => intent.identity_id))]);
  const enabled = await connectorSwitch(on, [...new Set(intents.map((intent) => intent.workspace_id))]);
  return {
    leases: new Map(leases.map((lease) => [keyOf(lease), lease])),
    intents: new Map(intents.map((intent) => [intent.id, intent])),
    identities: new Map(identities.map((identity) => [identity.id, identity])),
    enabled,
  };
}

export function keyOf({ service, instance }: Pick<Lease, "service" | "instance">): string {
  return `${service} ${instance}`;
}

function decide(moves: Moves, facts: Facts, question: Question): Verdict {
  const { speaker, workspaceId, ask } = question;
  const notHeld = objectionToLease("request", speaker, facts.leases.get(keyOf(speaker)));
  if (notHeld !== undefined) return notHeld;
  const intent = facts.intents.get(ask.intent_id);
  if (intent === undefined || intent.workspace_id !== workspaceId) {
    return new FabricError("request.not_found", "no such intent");
  }
  const identity = facts.identities.get(intent.identity_id);
  return (
    objectionToIdentity("outcome", speaker, workspaceId, identity) ??
    settled(intent, ask) ??
    unreported(intent, question) ??
    decideNow(moves, facts, intent, identity, question)
  );
}

function settled(intent: StandingIntent, ask: AttemptRequest): AttemptReply | undefined {
  if (ask.attempt !== intent.attempt) return { decision: "stop", code: "ticket.replayed" };
  if (ask.part < intent.part) return earlier(intent, ask.part);
  if (isSettled(intent.state)) return { decision: "stop" };
  return undefined;
}

/** Another part was granted since, so this one was said or is in doubt; either way it is not said again. */
function earlier(intent: StandingIntent, part: number): AttemptReply {
  const said = intent.remote_ids[part];
  return said === undefined || said === ""
    ? { decision: "uncertain" }
    : { decision: "sent", remote_id: said };
}

/** Granted before and not reported: in doubt, unless it is the same question, which nobody had an answer to. */
function unreported(intent: StandingIntent, { id, ask }: Question): AttemptReply | undefined {
  if (!inDoubt(intent) || intent.part !== ask.part) return undefined;
  return intent.ask_id === id ? undefined : { decision: "uncertain" };
}

function decideNow(
  moves: Moves,
  facts: Facts,
  intent: LockedIntent,
  identity: Identity | undefined,
  { id, ask, issuer, speaker }: Question,
): AttemptReply {
  const keep = (moved: LockedIntent | undefined) => {
    if (moved !== undefined) facts.intents.set(intent.id, moved);
    return moved;
  };
  const refuse = (to: "expired" | "denied", code: ErrorCode, detail?: string): AttemptReply => {
    // Who asks the same question again has written nothing; of an earlier part that is not known.
    const unsaid = intent.part === ask.part ? { ...intent, ask_id: null } : intent;
    keep(moves.move(unsaid, "gate", { to, actor: "core", code, detail }));
    return { decision: "stop", code };
  };
  if (isOver(intent)) return refuse("expired", "envelope.expired");
  const objection = objectionBy(intent, identity, facts.enabled);
  if (objection !== undefined) return refuse("denied", objection.code, objection.reason);
  const granted = moves.move(intent, "grant", {
    to: "attempting",
    actor: issuer,
    row: {
      part: ask.part,
      parts: ask.parts,
      askId: id,
      askEpoch: speaker.epoch ?? null,
      goUntil: windowEnd(intent),
    },
    audit: { part: ask.part, parts: ask.parts },
  });
  return keep(granted) === undefined ? { decision: "stop" } : { decision: "go", window_ms: WINDOW_MS };
}

/**
 * The transaction that records and decides: each intent becomes a row, a decision and, when it may go, a place in the
 * outbox. Everything is done for all members of a group at once, and each has its own answer; what one is refused
 * for is no other's affair.
 */
import { FabricError } from "@linkspan/envelopes";
import {
  type DecidedIntent,
  holdIdentities,
  type Identity,
  insertDecided,
  intentsById,
  type Intent,
  type LockMode,
  type Queryable,
} from "@linkspan/store";
import { committed } from "../after-commit.ts";
import type { Core } from "../core.ts";
import { connectorSwitch } from "../flags/switch.ts";
import { decide, objectionBy } from "../policy/decide.ts";
import type { Answer } from "./fair-groups.ts";
import { firstStep, reportFirstStep } from "./first-step.ts";
import type { Recorded, Wanted } from "./intent-request.ts";
import { takeRoom } from "./room.ts";
import { noIdentity, sameIntent } from "./wanted.ts";

/**
 * @param members of different ids
 * @param mode `wait` only for members of one lane
 * @throws FabricError `store.rejected`, `store.unavailable`; then nothing is stored
 */
export function recordGroup(
  core: Core,
  members: readonly Wanted[],
  mode: LockMode,
): Promise<Answer<Recorded>[]> {
  return committed(core, async (on, after) => {
    const refused = new Map<Wanted, unknown>();
    const decided = await decideAll(core, on, members, mode, refused);
    const { fresh, busy } = await insertDecided(on, decided, mode);
    for (const row of fresh.values()) reportFirstStep(core, after, row);
    const others = members.filter(({ intent }) => !fresh.has(intent.id) && !busy.has(intent.id));
    const known =
      others.length === 0
        ? new Map<string, Intent>()
        : await intentsById(
            on,
            others.map(({ intent }) => intent.id),
          );
    return members.map((member): Answer<Recorded> => {
      const { id } = member.intent;
      const row = fresh.get(id);
      if (row !== undefined) return { done: { intent: row, fresh: true } };
      if (busy.has(id)) return { busy: true };
      const before = known.get(id);
      if (before !== undefined) return repeated(before, member);
      return refused.get(member) === BUSY ? { busy: true } : { error: refused.get(member) ?? gone() };
    });
  });
}

/** In place of an error: somebody changes the identity at this moment. */
const BUSY = Symbol("busy");

/** @param refused takes what cannot be recorded, with the reason; who is in it may have been recorded before */
async function decideAll(
  core: Core,
  on: Queryable,
  members: readonly Wanted[],
  mode: LockMode,
  refused: Map<Wanted, unknown>,
): Promise<DecidedIntent[]> {
  // Held, so that unlinking sees these intents or they see the unlinking.
  const ids = unique(members.map(({ intent }) => intent.identityId));
  const identities = await holdIdentities(on, ids, mode);
  const held: { readonly member: Wanted; readonly identity: Identity }[] = [];
  for (const member of members) {
    const identity = identities.get(member.intent.identityId);
    // It was there a moment ago, and identities are not deleted.
    if (identity === undefined) refused.set(member, mode === "skip" ? BUSY : noIdentity());
    else if (identity.state === "unlinked") refused.set(member, noIdentity());
    else held.push({ member, identity });
  }
  const full = await takeRoom(
    on,
    held.map(({ member }) => member.intent),
    core.intentLimits,
    core.waitingRoom,
  );
  const isOn = await connectorSwitch(on, unique(members.map(({ intent }) => intent.workspaceId)));
  const decided: DecidedIntent[] = [];
  for (const [at, { member, identity }] of held.entries()) {
    if (full[at] !== undefined) {
      refused.set(member, full[at]);
      continue;
    }
    const { intent, request } = member;
    const owned = { workspace_id: intent.workspaceId, user_id: intent.userId, service: intent.service };
    const decision = decide(objectionBy(owned, identity, isOn));
    decided.push(firstStep(intent, identity, decision, request.actor));
  }
  return decided;
}

function repeated(before: Intent, member: Wanted): Answer<Recorded> {
  try {
    return { done: { intent: sameIntent(before, member), fresh: false } };
  } catch (error) {
    return { error };
  }
}

/** Somebody recorded it, and retention took it away, in the moment between two statements. */
function gone(): FabricError {
  return new FabricError("store.unavailable", "the intent is being changed; ask again");
}

function unique(values: readonly string[]): string[] {
  return [...new Set(values)];
}

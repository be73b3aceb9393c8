/** Intents in the database, for tests that do not need the worker: written by the statements of the product. */
import { randomUUID } from "node:crypto";
import {
  type DecidedIntent,
  type IntentChange,
  insertDecided,
  intentById,
  moveIntents,
  type NewIntent,
  type OutboxRow,
  type Queryable,
} from "@linkspan/store";
import { digest } from "./events.ts";

/** A message of the identity `alice` of workspace `acme`, to no conversation. */
export function newIntent(id: string, over: Partial<NewIntent> = {}): NewIntent {
  return {
    id,
    workspaceId: "acme",
    userId: "u",
    identityId: "alice",
    service: "irc",
    action: "outbound_message",
    conversation: undefined,
    payload: { text: "hello" },
    content: digest(id),
    idempotencyKey: id,
    traceId: randomUUID(),
    expiresAt: undefined,
    ...over,
  };
}

/** Intents in state `recorded`, without a place in the outbox. @throws Error for an id that was recorded before */
export function insertRecorded(on: Queryable, intents: readonly NewIntent[]): Promise<void> {
  return insertAll(
    on,
    intents.map((intent) => ({ ...UNDECIDED, intent, state: "recorded", place: undefined })),
  );
}

/**
 * Intents in state `queued`, each at the end of the lane of its conversation.
 *
 * @param instance the one that serves their identities
 * @throws Error for an id that was recorded before
 */
export function insertQueued(
  on: Queryable,
  intents: readonly NewIntent[],
  instance = "primary",
): Promise<void> {
  return insertAll(
    on,
    intents.map((intent) => ({ ...UNDECIDED, intent, state: "queued", place: placeOf(intent, instance) })),
  );
}

/** Moves an intent to another state, whatever the rules of states are. @throws Error for an unknown id */
export async function moveIntent(on: Queryable, id: string, change: IntentChange): Promise<void> {
  const before = await intentById(on, id);
  if (before === undefined) throw new Error(`there is no intent ${id}`);
  await moveIntents(on, [{ id, change, partBefore: before.part }]);
}

const UNDECIDED = { code: undefined, detail: undefined, decision: {}, audit: [] };

function placeOf(intent: NewIntent, instance: string): OutboxRow {
  return {
    intentId: intent.id,
    service: intent.service,
    instance,
    identityId: intent.identityId,
    lane: intent.conversation ?? "",
    bytes: Buffer.byteLength(JSON.stringify(intent.payload)),
  };
}

async function insertAll(on: Queryable, members: readonly DecidedIntent[]): Promise<void> {
  const { fresh } = await insertDecided(on, members, "wait");
  for (const { intent } of members)
    if (!fresh.has(intent.id)) throw new Error(`${intent.id} was recorded before`);
}

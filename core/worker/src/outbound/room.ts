/**
 * Bounds of intents at the door. An intent that is too large, or one too many in the queue, is refused with words
 * before anything is stored, because what is stored must be kept, claimed and expired.
 */
import { FabricError } from "@linkspan/envelopes";
import { type NewIntent, type Queryable, waitingIntents } from "@linkspan/store";
import { type QueueBounds, WaitingRoom } from "./waiting.ts";

export interface IntentLimits extends QueueBounds {
  /** Largest text, bytes of UTF-8. */
  readonly textBytes: number;
  /** Lines and attachments together: each is a message of its own on some platform. */
  readonly parts: number;
}

export const DEFAULT_INTENT_LIMITS: IntentLimits = {
  textBytes: 65_536,
  parts: 500,
  perIdentity: 5_000,
  perWorkspace: 20_000,
};

/** All of a payload, formatting and nested members too, by its largest text. */
const PAYLOAD_PER_TEXT = 4;
/** When some of a full queue may have gone. */
const COME_BACK_MS = 10_000;

/** @throws FabricError `intent.too_large` */
export function requireFit(
  payload: Readonly<Record<string, unknown>>,
  limits: Partial<IntentLimits> = {},
): void {
  const { textBytes, parts } = { ...DEFAULT_INTENT_LIMITS, ...limits };
  const texts = Object.values(payload).filter((value) => typeof value === "string");
  const bytes = texts.reduce((sum, text) => sum + Buffer.byteLength(text), 0);
  if (bytes > textBytes) {
    throw new FabricError("intent.too_large", `its text has ${bytes} bytes; ${textBytes} are the most`);
  }
  const whole = Buffer.byteLength(JSON.stringify(payload));
  if (whole > textBytes * PAYLOAD_PER_TEXT) {
    const most = textBytes * PAYLOAD_PER_TEXT;
    throw new FabricError("intent.too_large", `its payload has ${whole} bytes; ${most} are the most`);
  }
  const lines = texts.reduce((sum, text) => sum + linesOf(text), 0);
  const wanted = lines + (Array.isArray(payload["media"]) ? payload["media"].length : 0);
  if (wanted > parts) {
    throw new FabricError(
      "intent.too_large",
      `it has ${wanted} lines and attachments; ${parts} are the most`,
    );
  }
}

/**
 * Takes a place in the queues for each of many intents.
 *
 * @param on the transaction that records them
 * @param room what this process knows of the queues; without one they are counted
 * @returns for each `intent.queue_full` with the time to come back; undefined where there was room
 */
export async function takeRoom(
  on: Queryable,
  intents: readonly Pick<NewIntent, "workspaceId" | "identityId">[],
  limits: Partial<IntentLimits> = {},
  room = new WaitingRoom(),
): Promise<(FabricError | undefined)[]> {
  const bounds = { ...DEFAULT_INTENT_LIMITS, ...limits };
  const full = await room.take(intents, bounds, (queues) => waitingIntents(on, queues, bounds));
  return full.map((queue) => {
    if (queue === "identity") return queueFull(`${bounds.perIdentity} intents of this identity wait already`);
    if (queue === "workspace")
      return queueFull(`${bounds.perWorkspace} intents of this workspace wait already`);
    return undefined;
  });
}

function linesOf(text: string): number {
  let lines = 1;
  for (let at = text.indexOf("\n"); at >= 0; at = text.indexOf("\n", at + 1)) lines += 1;
  return lines;
}

function queueFull(detail: string): FabricError {
  return new FabricError("intent.queue_full", detail, { retryAfterMs: COME_BACK_MS });
}

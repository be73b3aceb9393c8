/** Histories and rosters, fetched when the core asks for them. */
import { CODES, FabricError, isFabricError, type Opened, type RequestHistory } from "@linkspan/envelopes";
import { ACK, type Decision, type Outgoing } from "@linkspan/fabric";
import { within } from "@linkspan/time";
import type { Logger } from "pino";
import type { Author } from "../bus/author.ts";
import type { RosterEntry } from "../connector.ts";
import type { GuardedConnection, ConnectionSupervisor } from "../identity/connection-supervisor.ts";

export interface SyncContext {
  readonly author: Author;
  readonly publish: (message: Outgoing) => Promise<void>;
  readonly supervisorOf: (identityId: string) => ConnectionSupervisor | undefined;
  readonly log: Logger;
}

const AGAIN_MS = 2_000;
/**
 * Limits of one roster_snapshot: number of entries, and bytes of their refs and names (escaping may double
 * these).
 */
const ROSTER_PAGE = 500;
const ROSTER_PAGE_BYTES = 131_072;
const MAX_ENTRY_BYTES = 4_096;
/** Entries beyond this number are dropped: no person reads them. */
const MAX_ROSTER = 100_000;
/** How long a platform may take for one history or roster. */
const FETCH_WITHIN_MS = 10 * 60_000;

/**
 * Missed events come through the identity's own event stream, so that they are ordered, acknowledged and
 * deduplicated like live ones; `sync_complete` ends the sequence.
 */
export async function synchronise(opened: Opened, context: SyncContext): Promise<Decision> {
  const { envelope, action } = opened;
  const supervisor = context.supervisorOf(envelope.metadata.identity_id ?? "");
  if (supervisor === undefined)
    return { do: "dead", code: "request.not_found", detail: "no such identity here" };
  const { connection } = supervisor;
  if (connection === undefined || !supervisor.isUp) return { do: "retry", afterMs: AGAIN_MS };
  try {
    if (action.canonical === "request_history") {
      await history(connection, supervisor, envelope.payload as RequestHistory, context);
    } else {
      await roster(connection, supervisor, context);
    }
    return ACK;
  } catch (error) {
    context.log.warn({
      event: "sync.failed",
      action: envelope.action,
      trace_id: envelope.trace_id,
      err: error,
    });
    if (isFabricError(error) && CODES[error.code].retry === "never") {
      return { do: "dead", code: error.code, detail: error.message };
    }
    return { do: "retry", afterMs: AGAIN_MS };
  }
}

async function history(
  { connection, barrier }: GuardedConnection,
  supervisor: ConnectionSupervisor,
  { conversation, limit, after }: RequestHistory,
  { author, publish }: SyncContext,
): Promise<void> {
  if (connection.history === undefined) {
    throw new FabricError("action.unsupported", "this platform gives no history");
  }
  const request = { conversation, limit, ...(after !== undefined && { after }) };
  await inTime(barrier.call(() => connection.history?.(request)));
  await supervisor.stream.confirmed();
  const { workspaceId, identityId } = supervisor.identity;
  await publish(author.note("sync_complete", workspaceId, { account: identityId, conversation }));
}

async function roster(
  { connection, barrier }: GuardedConnection,
  supervisor: ConnectionSupervisor,
  { author, publish }: SyncContext,
): Promise<void> {
  if (connection.roster === undefined) {
    throw new FabricError("action.unsupported", "this platform gives no roster");
  }
  const entries = await inTime(barrier.call(() => connection.roster?.() ?? []));
  const { workspaceId, identityId: account } = supervisor.identity;
  for (const page of pagesOf(entries)) {
    await publish(author.note("roster_snapshot", workspaceId, { account, entries: page }));
  }
  await publish(author.note("sync_complete", workspaceId, { account }));
}

/**
 * Splits by count and by bytes, so that each part fits an envelope; an entry that is too large for any is
 * left out.
 */
function* pagesOf(entries: readonly RosterEntry[]): Generator<readonly RosterEntry[]> {
  let page: RosterEntry[] = [];
  let bytes = 0;
  for (const { ref, name, kind } of entries.slice(0, MAX_ROSTER)) {
    const size = Buffer.byteLength(ref) + Buffer.byteLength(name);
    if (size > MAX_ENTRY_BYTES) continue;
    if (page.length === ROSTER_PAGE || bytes + size > ROSTER_PAGE_BYTES) {
      yield page;
      page = [];
      bytes = 0;
    }
    page.push({ ref, name, kind });
    bytes += size;
  }
  yield page;
}

/** @throws FabricError `platform.unavailable` when the platform takes too long */
async function inTime<T>(work: Promise<T>): Promise<T> {
  if (await within(FETCH_WITHIN_MS, work)) return work;
  throw new FabricError("platform.unavailable", "the platform did not answer in time");
}

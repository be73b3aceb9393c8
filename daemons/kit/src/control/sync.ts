/** Histories and rosters, fetched when the core asks for them. */
import { CODES, FabricError, isFabricError, type Opened, type RequestHistory } from "@linkspan/envelopes";
import { ACK, type Outgoing, type Verdict } from "@linkspan/fabric";
import type { Logger } from "pino";
import type { Author } from "../author.ts";
import type { Connection } from "../connector.ts";
import type { Keeper } from "../identity/keeper.ts";

export interface SyncContext {
  readonly author: Author;
  readonly publish: (message: Outgoing) => Promise<void>;
  readonly keeperOf: (identityId: string) => Keeper | undefined;
  readonly log: Logger;
}

const AGAIN_MS = 2_000;
/** Entries in one roster_snapshot. */
const ROSTER_PAGE = 500;

/**
 * What was missed comes through the identity's own event stream, so that it is in order, acknowledged and
 * deduplicated like anything live; `sync_complete` closes it.
 */
export async function synchronise(opened: Opened, context: SyncContext): Promise<Verdict> {
  const { envelope, action } = opened;
  const keeper = context.keeperOf(envelope.metadata.identity_id ?? "");
  if (keeper === undefined) return { do: "dead", code: "request.not_found", detail: "no such identity here" };
  const { connection } = keeper;
  if (connection === undefined || !keeper.isUp) return { do: "retry", afterMs: AGAIN_MS };
  try {
    if (action.canonical === "request_history") {
      await history(connection, keeper, envelope.payload as RequestHistory, context);
    } else {
      await roster(connection, keeper, context);
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
  connection: Connection,
  keeper: Keeper,
  { conversation, limit, after }: RequestHistory,
  { author, publish }: SyncContext,
): Promise<void> {
  if (connection.history === undefined) {
    throw new FabricError("action.unsupported", "this platform gives no history");
  }
  await connection.history({ conversation, limit, ...(after !== undefined && { after }) });
  await keeper.stream.confirmed();
  const { workspaceId, identityId } = keeper.identity;
  await publish(author.note("sync_complete", workspaceId, { account: identityId, conversation }));
}

async function roster(
  connection: Connection,
  keeper: Keeper,
  { author, publish }: SyncContext,
): Promise<void> {
  if (connection.roster === undefined) {
    throw new FabricError("action.unsupported", "this platform gives no roster");
  }
  const entries = await connection.roster();
  const { workspaceId, identityId: account } = keeper.identity;
  for (let from = 0; from < entries.length || from === 0; from += ROSTER_PAGE) {
    const page = entries.slice(from, from + ROSTER_PAGE).map(({ ref, name, kind }) => ({ ref, name, kind }));
    await publish(author.note("roster_snapshot", workspaceId, { account, entries: page }));
  }
  await publish(author.note("sync_complete", workspaceId, { account }));
}

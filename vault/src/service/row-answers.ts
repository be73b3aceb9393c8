/** Answers requests for durable rows: opens what a daemon sealed to the core, and seals what it asks for to the daemon. */
import {
  type CommitRowsReply,
  type LoadRowsReply,
  openRows,
  type RowChanges,
  sealRows,
} from "@linkspan/envelopes";
import type { AuthorityClaim } from "../authority.ts";
import type { LoadedPage, RowCommit, RowLoad } from "../rows/durable-rows.ts";
import type { Asked, RowRequest } from "./asked.ts";

/** The vault's rows, one commit at a time; many may share a transaction. */
export interface RowService {
  load<T>(load: RowLoad, seal: (version: number, rows: RowChanges) => Promise<T>): Promise<LoadedPage<T>>;
  /** @returns the new version. @throws FabricError the reason, or `vault.*` when nobody knows whether it is kept */
  commit(commit: RowCommit): Promise<number>;
}

/** @param sealKey the daemon's. @throws FabricError `envelope.unknown_key` when it has registered none */
export async function loadRows(
  asked: Asked,
  request: Extract<RowRequest, { action: "load_rows" }>,
  rows: RowService,
  sealKey: () => Uint8Array,
): Promise<LoadRowsReply> {
  const claim = claimOf(asked, request.identity_id);
  const { cursor } = request;
  const recipient = sealKey();
  const page = await rows.load({ claim, cursor, version: request.version }, (version, loaded) =>
    sealRows(recipient, contextOf(claim, "load", version, cursor), loaded),
  );
  return {
    version: page.version,
    ...(page.sealed !== undefined && { sealed: page.sealed }),
    ...(page.cursor !== undefined && { cursor: page.cursor }),
  };
}

/** @param privateKey the core's, to which daemons seal */
export async function commitRows(
  asked: Asked,
  request: Extract<RowRequest, { action: "commit_rows" }>,
  rows: RowService,
  privateKey: Uint8Array,
): Promise<CommitRowsReply> {
  const claim = claimOf(asked, request.identity_id);
  const { version, sealed } = request;
  const changes = await openRows(privateKey, contextOf(claim, "commit", version), sealed);
  try {
    return { version: await rows.commit({ claim, version, requestId: asked.requestId, changes }) };
  } finally {
    for (const value of changes.values()) value?.fill(0);
  }
}

function claimOf({ holder, epoch }: Asked, identityId: string): AuthorityClaim {
  const { daemon, kid, workspaceId } = holder;
  return { daemon, kid, epoch, workspaceId, identityId };
}

function contextOf(
  { daemon, workspaceId, identityId }: AuthorityClaim,
  direction: "load" | "commit",
  version: number,
  cursor = "",
) {
  return { direction, daemon, workspaceId, identityId, version, cursor };
}

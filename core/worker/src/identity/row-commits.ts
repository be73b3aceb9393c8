/**
 * Durable rows as the vault's service asks for them: commits that arrive at the same moment share a transaction, also
 * those of several daemons; each has its own answer.
 */
import { FabricError } from "@linkspan/envelopes";
import type { AuthorityClaim, DurableRows, RowCommit, RowService, Transaction } from "@linkspan/vault";
import { objectionsToRequests, speakerOf } from "../authority.ts";
import { GroupCommit, isOfOneMember } from "../group-commit.ts";

/** Most bytes of one transaction, unless a single commit is larger. */
const MAX_BYTES = 4_194_304;
/** What a commit costs beside its bytes: about 500 small ones make a transaction. */
const BYTES_OF_A_COMMIT = 8_192;

export function groupedRows(rows: DurableRows): RowService {
  const group = new GroupCommit<RowCommit, ReadonlyMap<RowCommit, number | FabricError>>(
    (commits) => rows.commitAll(commits),
    MAX_BYTES,
    { weigh: bytesOf, mayPart: isOfOneMember },
  );
  return {
    load: (load, seal) => rows.load(load, seal),
    commit: async (commit) => {
      const verdict = (await group.commit([commit])).get(commit);
      if (typeof verdict === "number") return verdict;
      throw verdict ?? new FabricError("internal", "a commit was not answered");
    },
  };
}

/** Only the current holder of the instance that serves an identity may load and commit its rows. */
export function rowAuthority(
  on: Transaction,
  claims: readonly AuthorityClaim[],
): Promise<(FabricError | undefined)[]> {
  return objectionsToRequests(
    on,
    claims.map((claim) => ({ speaker: speakerOf(claim.daemon, claim.epoch, claim.kid), spokenFor: claim })),
  );
}

function bytesOf({ changes }: RowCommit): number {
  return [...changes.values()].reduce((sum, value) => sum + (value?.byteLength ?? 0), BYTES_OF_A_COMMIT);
}

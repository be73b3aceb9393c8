/**
 * Durable rows of identities: state of a daemon's sessions that must never go back, such as ratchets.
 *
 * load → version and rows · commit(version, changes) → version + 1, or `vault.conflict`. Both lock the identity's set
 * first and ask only then whether the caller still holds its instance. So a commit of an older holder either ends
 * before the new holder's load, which sees it, or finds the new holder and is refused: nobody ever continues from
 * rows that somebody else was told were replaced.
 *
 * A repeated request is answered again, so an answer that was lost costs nothing.
 */
import { FabricError, isFabricError, type RowChanges } from "@linkspan/envelopes";
import { type Audit, audited } from "../audit.ts";
import type { AuthorityClaim, RowAuthority } from "../authority.ts";
import type { WorkspaceKey } from "../keys/data-keys.ts";
import type { SecretStore, StoreTransaction } from "../store/secret-store.ts";
import { OpenSet, type WantedChange } from "./open-set.ts";
import type { StoredSet } from "./row-store.ts";
import { KeysOfTransaction, StoredRows, type StoredRowsOptions } from "./stored-rows.ts";

export interface DurableRowsOptions extends StoredRowsOptions {
  readonly store: SecretStore;
  readonly audit: Audit;
  /** @throws FabricError `vault.sealed` */
  readonly assertOpen: () => void;
  /** Undefined: nobody may load or commit. */
  readonly authority: RowAuthority | undefined;
}

export interface RowCommit extends WantedChange {
  readonly claim: AuthorityClaim;
}

export interface RowLoad {
  readonly claim: AuthorityClaim;
  /** As the page before answered; undefined for the first page. */
  readonly cursor: string | undefined;
  /** Version of the first page. */
  readonly version: number | undefined;
}

export interface LoadedPage<T> {
  readonly version: number;
  /** What `seal` gave for the rows; undefined when there are none. */
  readonly sealed: T | undefined;
  readonly cursor: string | undefined;
}

export class DurableRows {
  readonly #options: DurableRowsOptions;
  readonly #stored: StoredRows;

  constructor(options: DurableRowsOptions) {
    this.#options = options;
    this.#stored = new StoredRows(options);
  }

  /**
   * Commits what is allowed of these in one transaction, in their order. One that is refused changes nothing.
   *
   * @returns for each the new version, or the reason: `lease.lost`, `envelope.wrong_issuer`, `vault.conflict`,
   *   `vault.full`, `vault.unavailable` for rows that were altered
   * @throws FabricError `vault.*`, `store.rejected`: whether they are committed is then unknown
   */
  commitAll(commits: readonly RowCommit[]): Promise<ReadonlyMap<RowCommit, number | FabricError>> {
    const { store, assertOpen } = this.#options;
    assertOpen();
    return store.transaction(async (tx) => {
      await tx.rows.lock(commits.map(({ claim }) => claim));
      const verdicts = new Map<RowCommit, number | FabricError>();
      const objections = await this.#objections(
        tx,
        commits.map(({ claim }) => claim),
      );
      const allowed = commits.filter((commit, at) => {
        const objection = objections[at];
        if (objection !== undefined) verdicts.set(commit, objection);
        return objection === undefined;
      });
      const keys = await this.#writingKeys(tx, allowed);
      const sets = await this.#openSets(tx, allowed);
      try {
        for (const commit of allowed) {
          const set = sets.get(ownerKey(commit.claim));
          const key = keys.get(commit.claim.workspaceId);
          if (key === undefined || set === undefined) throw new TypeError("a commit without its key or set");
          verdicts.set(commit, isFabricError(set) ? set : set.apply(commit, key.keyVersion));
        }
        await this.#save(tx, sets, keys);
      } finally {
        for (const set of sets.values()) if (!isFabricError(set)) set.wipe();
      }
      return verdicts;
    });
  }

  /**
   * Gives one page of the rows.
   *
   * @param seal seals the rows to their recipient; they are wiped when it has settled
   * @throws FabricError `lease.lost`, `envelope.wrong_issuer`, `vault.conflict` when the rows have another version by
   *   now, `vault.unavailable` when rows were altered, or what `seal` throws
   */
  load<T>(
    { claim, cursor, version }: RowLoad,
    seal: (version: number, rows: RowChanges) => Promise<T>,
  ): Promise<LoadedPage<T>> {
    const { store, assertOpen } = this.#options;
    assertOpen();
    return store.transaction(async (tx) => {
      await tx.rows.lock([claim]);
      const [objection] = await this.#objections(tx, [claim]);
      if (objection !== undefined) throw objection;
      const [set] = await tx.rows.sets([claim]);
      const current = set?.version ?? 0;
      if (version !== undefined && version !== current) {
        throw new FabricError("vault.conflict", `version ${current} is current, not ${version}`);
      }
      if (cursor === undefined) await this.#recordLoad(tx, claim, set);
      if (set === undefined) return { version: 0, sealed: undefined, cursor: undefined };
      const { rows, next } = await this.#stored.page(tx, set, cursor);
      try {
        const sealed = rows.size === 0 ? undefined : await seal(current, rows);
        return { version: current, sealed, cursor: next };
      } finally {
        for (const value of rows.values()) value.fill(0);
      }
    });
  }

  async #objections(
    tx: StoreTransaction,
    claims: readonly AuthorityClaim[],
  ): Promise<readonly (FabricError | undefined)[]> {
    const { authority } = this.#options;
    if (authority !== undefined) return authority(tx.client, claims);
    return claims.map(() => new FabricError("action.unsupported", "this vault keeps no rows"));
  }

  /** In one order of workspaces, as everywhere before any other row. */
  async #writingKeys(
    tx: StoreTransaction,
    commits: readonly RowCommit[],
  ): Promise<ReadonlyMap<string, WorkspaceKey>> {
    const keys = new Map<string, WorkspaceKey>();
    for (const workspaceId of [...new Set(commits.map(({ claim }) => claim.workspaceId))].toSorted()) {
      keys.set(workspaceId, await this.#options.versions.writingKey(tx, workspaceId));
    }
    return keys;
  }

  /** By owner. A set that cannot be opened is its own commits' error and no other's. */
  async #openSets(
    tx: StoreTransaction,
    commits: readonly RowCommit[],
  ): Promise<ReadonlyMap<string, OpenSet | FabricError>> {
    const stored = await tx.rows.sets(commits.map(({ claim }) => claim));
    const keys = new KeysOfTransaction(tx, this.#options.versions);
    const sets = new Map<string, OpenSet | FabricError>();
    for (const set of stored) {
      sets.set(
        ownerKey(set.owner),
        await this.#stored.state(keys, set).then(
          (state) => new OpenSet(set.owner, set.service, { set, state }),
          (error: unknown) => {
            if (isFabricError(error)) return error;
            throw error;
          },
        ),
      );
    }
    for (const { claim } of commits) {
      const key = ownerKey(claim);
      if (!sets.has(key)) sets.set(key, new OpenSet(ownerOf(claim), serviceOf(claim)));
    }
    const names = commits.flatMap(({ claim, changes }) => {
      const set = sets.get(ownerKey(claim));
      if (set === undefined || isFabricError(set)) return [];
      return [...changes.keys()].map((name) => ({ setId: set.setId, name: set.nameOf(name) }));
    });
    const marks = await tx.rows.marks(names);
    for (const set of sets.values()) if (!isFabricError(set)) set.found(marks);
    return sets;
  }

  async #save(
    tx: StoreTransaction,
    sets: ReadonlyMap<string, OpenSet | FabricError>,
    keys: ReadonlyMap<string, WorkspaceKey>,
  ): Promise<void> {
    const { dataKeys, now } = this.#options;
    const all: ReturnType<OpenSet["sealed"]>[] = [];
    for (const set of sets.values()) {
      if (isFabricError(set) || !set.isChanged) continue;
      const key = keys.get(set.owner.workspaceId);
      if (key === undefined) throw new TypeError("a set without its key");
      all.push(await dataKeys.use(key, now(), (dataKey) => set.sealed(dataKey, key.keyVersion)));
    }
    await tx.rows.save(
      all.map(({ set }) => set),
      all.flatMap(({ put }) => put),
      all.flatMap(({ deleted }) => deleted),
    );
  }

  #recordLoad(tx: StoreTransaction, claim: AuthorityClaim, set: StoredSet | undefined): Promise<void> {
    const { workspaceId, identityId: subject, daemon: actor } = claim;
    const detail = { version: set?.version ?? 0, rows: set?.rows ?? 0 };
    return audited(this.#options.audit, tx.client, {
      workspaceId,
      actor,
      action: "vault.rows_loaded",
      subject,
      detail,
    });
  }
}

function ownerOf({ workspaceId, identityId }: AuthorityClaim) {
  return { workspaceId, identityId };
}

function serviceOf({ daemon }: AuthorityClaim): string {
  return daemon.split(":")[1] ?? "";
}

/** A workspace's id has no line break in it, so no two owners share a key. */
function ownerKey({ workspaceId, identityId }: { workspaceId: string; identityId: string }): string {
  return `${workspaceId}\n${identityId}`;
}

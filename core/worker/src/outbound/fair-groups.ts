/**
 * One transaction for what many callers want at the same moment, with an answer for each.
 *
 * The first caller starts at once; who comes while a group is being committed is in the next one. Workspaces take
 * turns in a group, so that nobody waits for more than one group because of another workspace's queue; within a
 * workspace the order is that of asking.
 *
 *   waiting → in a group → answered
 *                 ├→ busy: its lane is held by somebody → apart: tried again soon, with others that are apart; what
 *                 │  comes later for the lane goes behind it. A lane that is held for long is waited for, alone
 *                 └→ the group failed → its halves are tried, so that only what cannot be stored fails
 *
 * A member that fails because the database is away takes along those of its lane that wait behind it: stored now, they
 * would be in front of it when it is asked for again.
 */
import { FabricError, isFabricError } from "@linkspan/envelopes";
import type { LockMode } from "@linkspan/store";
import { type Clock, sleep, systemClock } from "@linkspan/time";
import { GROUP_LIMITS, type GroupLimits } from "./group-limits.ts";

export interface Grouped {
  /** Two members of one id are never in one group. */
  readonly id: string;
  readonly workspaceId: string;
  /** Whose order counts, and what may be locked by others. */
  readonly lane: string;
  /** What it holds in memory. */
  readonly bytes: number;
}

/** What became of a member: its result, its own error, or nothing because its lane is held by somebody else. */
export type Answer<R> = { readonly done: R } | { readonly error: unknown } | { readonly busy: true };

/** Commits all members, each with its answer in the same order, or rejects and stores nothing. */
export type CommitGroup<T, R> = (members: readonly T[], mode: LockMode) => Promise<readonly Answer<R>[]>;

interface Waiting<T, R> {
  readonly member: T;
  readonly resolve: (result: R) => void;
  readonly reject: (error: unknown) => void;
}

/** A lane that was held when it was tried. */
interface Apart<T, R> {
  readonly sinceMs: number;
  members: Waiting<T, R>[];
  isWaitedFor: boolean;
}

/** What a group holds so far. */
interface Taken {
  readonly ids: Set<string>;
  bytes: number;
}

/** Between two tries of lanes that are held. */
const AGAIN_MS = 5;

export class FairGroups<T extends Grouped, R> {
  readonly #commit: CommitGroup<T, R>;
  readonly #limits: GroupLimits;
  readonly #clock: Clock;
  /** By workspace; the first one is served first. */
  readonly #waiting = new Map<string, Waiting<T, R>[]>();
  /** By lane. */
  readonly #apart = new Map<string, Apart<T, R>>();
  #isTryingAgain = false;
  #isWaitingForLane = false;
  /** In the order of asking. */
  readonly #unanswered = new Set<Waiting<T, R>>();
  /** With a member that failed before them. */
  readonly #rejected = new WeakSet<Waiting<T, R>>();
  #running = false;

  constructor(commit: CommitGroup<T, R>, limits: Partial<GroupLimits> = {}, clock = systemClock) {
    this.#commit = commit;
    this.#limits = { ...GROUP_LIMITS, ...limits };
    this.#clock = clock;
  }

  /** @throws its own error; `request.rate_limited` when too many wait */
  add(member: T): Promise<R> {
    if (this.#unanswered.size >= this.#limits.waiting)
      throw new FabricError("request.rate_limited", "too many intents at once", { retryAfterMs: 1_000 });
    const { promise, resolve, reject } = Promise.withResolvers<R>();
    const waiting = { member, resolve, reject };
    this.#unanswered.add(waiting);
    const apart = this.#apart.get(member.lane);
    const queue = this.#waiting.get(member.workspaceId);
    if (apart !== undefined) apart.members.push(waiting);
    else if (queue === undefined) this.#waiting.set(member.workspaceId, [waiting]);
    else queue.push(waiting);
    if (!this.#running) void this.#run();
    return promise.finally(() => this.#unanswered.delete(waiting));
  }

  async #run(): Promise<void> {
    this.#running = true;
    // Who asks at this moment joins the first group.
    await Promise.resolve();
    while (this.#waiting.size > 0) {
      const busy = new Map<string, Waiting<T, R>[]>();
      await this.#together(this.#take(), "skip", busy);
      for (const [lane, members] of busy) this.#setApart(lane, members);
    }
    this.#running = false;
  }

  /** One of each workspace in turn, until the group is full. */
  #take(): Waiting<T, R>[] {
    const group: Waiting<T, R>[] = [];
    const ids = new Set<string>();
    let bytes = 0;
    let open = [...this.#waiting.keys()];
    const places = new Map(open.map((workspace) => [workspace, 0]));
    while (open.length > 0) {
      const next: string[] = [];
      for (const workspace of open) {
        const place = places.get(workspace) ?? 0;
        const one = this.#waiting.get(workspace)?.[place];
        if (one === undefined || ids.has(one.member.id)) continue;
        const isFull = group.length >= this.#limits.members || bytes + one.member.bytes > this.#limits.bytes;
        if (isFull && group.length > 0) {
          next.length = 0;
          break;
        }
        group.push(one);
        ids.add(one.member.id);
        bytes += one.member.bytes;
        places.set(workspace, place + 1);
        next.push(workspace);
      }
      open = next;
    }
    for (const [workspace, taken] of places) {
      if (taken === 0) continue;
      const rest = this.#waiting.get(workspace)?.slice(taken) ?? [];
      // Who was served goes behind those who were not.
      this.#waiting.delete(workspace);
      if (rest.length > 0) this.#waiting.set(workspace, rest);
    }
    return group;
  }

  /**
   * @param busy takes members of lanes that are held, by lane
   * @param untilMs when a group that fails is no longer taken apart
   */
  async #together(
    gathered: readonly Waiting<T, R>[],
    mode: LockMode,
    busy: Map<string, Waiting<T, R>[]>,
    untilMs = this.#clock.now() + this.#limits.takingApartMs,
  ): Promise<void> {
    // Of a lane that was held for one half of a group, the other half waits too.
    for (const one of gathered) busy.get(one.member.lane)?.push(one);
    const group = gathered.filter(({ member }) => !busy.has(member.lane));
    if (group.length === 0) return;
    try {
      const members = group.map(({ member }) => member);
      this.#answer(group, await this.#commit(members, mode), busy);
    } catch (error) {
      const isOver =
        this.#clock.now() > untilMs && !(isFabricError(error) && error.code === "store.rejected");
      if (group.length === 1 || isOver) {
        for (const { reject } of group) reject(error);
        if (isFabricError(error) && error.code === "store.unavailable") this.#rejectBehind(group, error);
        return;
      }
      const half = Math.ceil(group.length / 2);
      await this.#together(group.slice(0, half), mode, busy, untilMs);
      const rest = group.slice(half).filter((one) => !this.#rejected.has(one));
      await this.#together(rest, mode, busy, untilMs);
    }
  }

  #rejectBehind(failed: readonly Waiting<T, R>[], error: unknown): void {
    const lanes = new Set(failed.map(({ member }) => member.lane));
    for (const one of this.#unanswered) {
      if (!lanes.has(one.member.lane)) continue;
      one.reject(error);
      this.#rejected.add(one);
    }
    for (const [workspace, queue] of this.#waiting) {
      const rest = queue.filter((one) => !this.#rejected.has(one));
      if (rest.length > 0) this.#waiting.set(workspace, rest);
      else this.#waiting.delete(workspace);
    }
    for (const apart of this.#apart.values())
      apart.members = apart.members.filter((one) => !this.#rejected.has(one));
  }

  #answer(
    group: readonly Waiting<T, R>[],
    answers: readonly Answer<R>[],
    busy: Map<string, Waiting<T, R>[]>,
  ): void {
    for (const [at, one] of group.entries()) {
      const answer = answers[at];
      if (answer === undefined) one.reject(new Error("a group was committed without an answer for each"));
      else if ("done" in answer) one.resolve(answer.done);
      else if ("error" in answer) one.reject(answer.error);
      else busy.set(one.member.lane, [...(busy.get(one.member.lane) ?? []), one]);
    }
  }

  #setApart(lane: string, members: Waiting<T, R>[]): void {
    const workspaceId = members[0]?.member.workspaceId ?? "";
    const queue = this.#waiting.get(workspaceId) ?? [];
    const [behind, rest] = [true, false].map((isBehind) =>
      queue.filter(({ member }) => (member.lane === lane) === isBehind),
    ) as [Waiting<T, R>[], Waiting<T, R>[]];
    if (rest.length > 0) this.#waiting.set(workspaceId, rest);
    else this.#waiting.delete(workspaceId);
    this.#apart.set(lane, {
      sinceMs: this.#clock.now(),
      members: [...members, ...behind],
      isWaitedFor: false,
    });
    if (!this.#isTryingAgain) void this.#tryAgain();
  }

  async #tryAgain(): Promise<void> {
    this.#isTryingAgain = true;
    while (this.#apart.size > 0) {
      await sleep(this.#clock, AGAIN_MS);
      this.#waitForOldest();
      const group = this.#takeApart();
      const busy = new Map<string, Waiting<T, R>[]>();
      await this.#together(group, "skip", busy);
      for (const lane of new Set(group.map(({ member }) => member.lane))) {
        const apart = this.#apart.get(lane);
        if (apart === undefined) continue;
        apart.members = [...(busy.get(lane) ?? []), ...apart.members];
        this.#apart.delete(lane);
        // Who was tried goes behind those who were not.
        if (apart.members.length > 0) this.#apart.set(lane, apart);
      }
    }
    this.#isTryingAgain = false;
  }

  #takeApart(): Waiting<T, R>[] {
    const group: Waiting<T, R>[] = [];
    const taken: Taken = { ids: new Set(), bytes: 0 };
    for (const apart of this.#apart.values()) {
      if (taken.ids.size >= this.#limits.members) break;
      if (apart.isWaitedFor) continue;
      const first = this.#firstOf(apart.members, taken);
      group.push(...first);
      apart.members = apart.members.slice(first.length);
    }
    return group;
  }

  #waitForOldest(): void {
    if (this.#isWaitingForLane) return;
    for (const [lane, apart] of this.#apart) {
      if (this.#clock.now() - apart.sinceMs < this.#limits.patienceMs) continue;
      this.#isWaitingForLane = true;
      apart.isWaitedFor = true;
      void this.#waitFor(lane, apart);
      return;
    }
  }

  async #waitFor(lane: string, apart: Apart<T, R>): Promise<void> {
    while (apart.members.length > 0) {
      const group = this.#firstOf(apart.members);
      apart.members = apart.members.slice(group.length);
      const busy = new Map<string, Waiting<T, R>[]>();
      await this.#together(group, "wait", busy);
      for (const { reject } of [...busy.values()].flat()) reject(new Error("what was waited for is held"));
    }
    this.#apart.delete(lane);
    this.#isWaitingForLane = false;
  }

  /**
   * As many of one lane as fit a group beside those in it, up to one whose id is there already.
   *
   * @param taken those in the group; those of the lane are added
   */
  #firstOf(all: readonly Waiting<T, R>[], taken: Taken = { ids: new Set(), bytes: 0 }): Waiting<T, R>[] {
    const { ids } = taken;
    const end = all.findIndex(({ member }) => {
      const isFull = ids.size >= this.#limits.members || taken.bytes + member.bytes > this.#limits.bytes;
      if ((isFull && ids.size > 0) || ids.has(member.id)) return true;
      ids.add(member.id);
      taken.bytes += member.bytes;
      return false;
    });
    return all.slice(0, end < 0 ? all.length : end);
  }
}

/**
 * The one place that moves intents. Each step has its row, its audit entry, its metric and its wake-up from here;
 * an intent that is settled leaves the outbox here. `states.ts` says who may cause what.
 *
 * Moves are decided in memory, one after the other, on rows that the caller has locked (`lockIntents`), and then
 * written together: one statement for rows and steps, one for the audit, and the lanes last, because they are locked
 * from then on.
 */
import {
  auditAll,
  type AuditEntry,
  type IntentChange,
  type IntentMove,
  type IntentState,
  moveIntents,
  type Queryable,
  settleLanes,
  type StandingIntent,
} from "@linkspan/store";
import type { AfterCommit } from "../after-commit.ts";
import type { Core } from "../core.ts";
import { type Cause, destination, inDoubt, isSettled } from "./states.ts";

export interface Step {
  /** The state that is wanted; the rules may make another end of it. */
  readonly to: IntentState;
  /** For the audit: `core`, `daemon:…`, `token:…`. */
  readonly actor: string;
  /** Of the closed table, as a daemon or the core named it. */
  readonly code?: string | undefined;
  readonly detail?: string | undefined;
  /** What else changes in the row. */
  readonly row?: Omit<IntentChange, "state" | "code" | "detail">;
  /** Further members of the audit entry; never contents. */
  readonly audit?: Readonly<Record<string, unknown>>;
}

/** Moves of one transaction. They are not in the tables before {@link Moves.write}. */
export class Moves {
  readonly #core: Core;
  readonly #after: AfterCommit;
  readonly #moves: (IntentMove & { readonly partBefore: number })[] = [];
  readonly #audits: AuditEntry[] = [];
  readonly #ended = new Set<string>();
  readonly #postponed = new Map<string, number>();

  constructor(core: Core, after: AfterCommit) {
    this.#core = core;
    this.#after = after;
  }

  /**
   * @param intent locked, and as it is after the moves before this one
   * @returns the intent as it is then; undefined when the cause may not move it there, and nothing changes
   */
  move<I extends StandingIntent>(intent: I, cause: Cause, step: Step): I | undefined {
    const state = destination(intent, cause, step.to);
    if (state === undefined) return undefined;
    const code = codeOf(intent, state, step) ?? null;
    const detail = detailOf(intent, state, step) ?? null;
    const change: IntentChange = { ...step.row, state, code, detail };
    this.#moves.push({ id: intent.id, change, partBefore: intent.part });
    this.#audits.push({
      workspaceId: intent.workspace_id,
      actor: step.actor,
      action: `intent.${state}`,
      subject: intent.id,
      detail: {
        ...(intent.attempt > 0 && { attempt: intent.attempt }),
        ...(code !== null && { code }),
        ...(state !== step.to && { wanted: step.to, part: intent.part, parts: intent.parts }),
        ...step.audit,
      },
    });
    if (isSettled(state) && !isSettled(intent.state)) this.#ended.add(intent.id);
    if (isSettled(state) || state === "queued") this.#after.wakes.add("outbox");
    const isKnownEnd = isSettled(state) && state === intent.state;
    if (!isKnownEnd) this.#after.reports.push(() => this.#core.metrics.intent(state, intent.service));
    return changed(intent, change);
  }

  /** The intent's lane waits for so long; of several calls for one intent, the last one counts. */
  postpone(intentId: string, waitMs: number): void {
    this.#postponed.set(intentId, waitMs);
  }

  /** @returns when each intent was changed, by its id */
  async write(on: Queryable): Promise<Map<string, Date>> {
    const written = await moveIntents(on, this.#moves);
    await auditAll(on, this.#audits);
    const postponed = [...this.#postponed].map(([intentId, waitMs]) => ({ intentId, waitMs }));
    await settleLanes(on, {
      ended: [...this.#ended],
      postponed: postponed.filter(({ intentId }) => !this.#ended.has(intentId)),
    });
    return written;
  }
}

function changed<I extends StandingIntent>(intent: I, change: IntentChange): I {
  const { state, code = null, detail = null, part, parts, remoteIds, askId, askEpoch, goUntil } = change;
  return {
    ...intent,
    state,
    code,
    detail,
    ...(part !== undefined && { part }),
    ...(parts !== undefined && { parts }),
    ...(remoteIds !== undefined && { remote_ids: [...remoteIds] }),
    ...(askId !== undefined && { ask_id: askId }),
    ...(askEpoch !== undefined && { ask_epoch: askEpoch === null ? null : String(askEpoch) }),
    ...(goUntil !== undefined && { go_until: goUntil }),
  };
}

/** One move. */
export interface WantedMove<I extends StandingIntent = StandingIntent> {
  readonly intent: I;
  readonly cause: Cause;
  readonly step: Step;
}

/**
 * Moves intents that the caller has locked, each of them once.
 *
 * @returns for each the intent as it stands now; undefined when the cause may not move it there
 */
export async function transitionAll<I extends StandingIntent>(
  core: Core,
  on: Queryable,
  after: AfterCommit,
  wanted: readonly WantedMove<I>[],
): Promise<(I | undefined)[]> {
  const moves = new Moves(core, after);
  const moved = wanted.map(({ intent, cause, step }) => moves.move(intent, cause, step));
  const written = await moves.write(on);
  return moved.map((intent) => {
    const at = intent === undefined ? undefined : written.get(intent.id);
    return intent === undefined || at === undefined ? intent : { ...intent, updated_at: at };
  });
}

/** Moves one. */
export async function transition<I extends StandingIntent>(
  core: Core,
  on: Queryable,
  after: AfterCommit,
  intent: I,
  cause: Cause,
  step: Step,
): Promise<I | undefined> {
  const [moved] = await transitionAll(core, on, after, [{ intent, cause, step }]);
  return moved;
}

function codeOf(intent: StandingIntent, state: IntentState, step: Step): string | undefined {
  if (state === step.to) return step.code;
  if (state === "uncertain") return "send.uncertain";
  return step.code ?? (intent.part > 0 ? "send.incomplete" : undefined);
}

function detailOf(intent: StandingIntent, state: IntentState, { detail, to }: Step): string | undefined {
  if (state === "uncertain" && inDoubt(intent) && to !== "uncertain")
    return `a part was being said${detail === undefined ? "" : `; ${detail}`}`;
  if (state !== "failed" || intent.part === 0) return detail;
  const said = `${intent.part} of ${intent.parts ?? "several"} parts were said`;
  return detail === undefined ? said : `${said}; ${detail}`;
}

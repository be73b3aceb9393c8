/**
 * The one place that moves an intent. Each step has its row, its audit entry, its metric and its wake-up from here;
 * an intent that is settled leaves the outbox here. `states.ts` says who may cause what.
 */
import {
  audit,
  dequeue,
  type Intent,
  type IntentChange,
  type IntentState,
  moveIntent,
  type Queryable,
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

/**
 * Moves an intent that the caller has locked.
 *
 * @returns the intent as it stands now; undefined when the cause may not move it there, and nothing was changed
 */
export async function transition(
  core: Core,
  on: Queryable,
  after: AfterCommit,
  intent: Intent,
  cause: Cause,
  step: Step,
): Promise<Intent | undefined> {
  const state = destination(intent, cause, step.to);
  if (state === undefined) return undefined;
  const code = codeOf(intent, state, step);
  const moved = await moveIntent(on, intent.id, {
    ...step.row,
    state,
    code: code ?? null,
    detail: detailOf(intent, state, step) ?? null,
  });
  await audit(on, {
    workspaceId: intent.workspace_id,
    actor: step.actor,
    action: `intent.${state}`,
    subject: intent.id,
    detail: {
      ...(moved.attempt > 0 && { attempt: moved.attempt }),
      ...(code !== undefined && { code }),
      ...(state !== step.to && { wanted: step.to, part: intent.part, parts: intent.parts }),
      ...step.audit,
    },
  });
  // Last: from here on its lane is locked.
  if (isSettled(state) && !isSettled(intent.state)) await dequeue(on, [intent.id]);
  if (isSettled(state) || state === "queued") after.wakes.add("outbox");
  const isKnownEnd = isSettled(state) && state === intent.state;
  if (!isKnownEnd) after.reports.push(() => core.metrics.intent(state, intent.service));
  return moved;
}

function codeOf(intent: Intent, state: IntentState, step: Step): string | undefined {
  if (state === step.to) return step.code;
  if (state === "uncertain") return "send.uncertain";
  return step.code ?? (intent.part > 0 ? "send.incomplete" : undefined);
}

function detailOf(intent: Intent, state: IntentState, { detail, to }: Step): string | undefined {
  if (state === "uncertain" && inDoubt(intent) && to !== "uncertain")
    return `a part was being said${detail === undefined ? "" : `; ${detail}`}`;
  if (state !== "failed" || intent.part === 0) return detail;
  const said = `${intent.part} of ${intent.parts ?? "several"} parts were said`;
  return detail === undefined ? said : `${said}; ${detail}`;
}

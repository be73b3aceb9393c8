/**
 * Applies the reports on intents of all envelopes of a batch. Each report has its own key, verdict and effect,
 * whether it came alone or among others.
 */
import { contentHash, FabricError, isFabricError } from "@linkspan/envelopes";
import { type Claimed, claimKeys, type Queryable } from "@linkspan/store";
import type { Core } from "../core.ts";
import { followReports, type Report, reportsIn } from "../outbound/follow.ts";
import type { Admission } from "./admit.ts";
import { keyOf } from "./keys.ts";
import type { Outcome } from "./outcome.ts";

/** A report that is refused; the other reports of its envelope are not. */
export interface RefusedReport {
  readonly admission: Admission;
  readonly report: Report;
  readonly error: FabricError;
}

/** Locks lanes of the outbox, so call it last in a transaction. */
export async function applyOutcomes(
  core: Core,
  on: Queryable,
  outcome: Outcome,
  admissions: readonly Admission[],
): Promise<RefusedReport[]> {
  const refused: RefusedReport[] = [];
  const told: { admission: Admission; report: Report; content: Uint8Array }[] = [];
  for (const admission of admissions) {
    for (const [at, report] of reportsIn(admission.opened.envelope).entries()) {
      const content = admission.refusedMembers?.get(at) ?? contentOf(admission, report);
      if (isFabricError(content)) refused.push({ admission, report, error: content });
      else told.push({ admission, report, content });
    }
  }
  const claims = await claimKeys(
    on,
    told.map(({ report, content }) => ({
      workspaceId: report.workspaceId,
      messageId: keyOf(actionOf(report), report.identityId ?? "", report.messageId),
      content,
    })),
  );
  const fresh: Report[] = [];
  for (const [at, { admission, report }] of told.entries()) {
    const claim = claims[at] as Claimed;
    if (claim === "new") fresh.push(report);
    if (claim !== "conflict") continue;
    const error = new FabricError("envelope.conflict", "this id was used for other content");
    refused.push({ admission, report, error });
  }
  await followReports(core, on, outcome, fresh);
  return refused;
}

/** A status has the same key alone and among others. */
function actionOf({ status }: Report): string {
  return status === undefined ? "deferred" : "delivery_status";
}

/** @returns an error for content that has no canonical form, as only unsigned envelopes can have */
function contentOf({ opened }: Admission, report: Report): Uint8Array | FabricError {
  const { envelope, action } = opened;
  try {
    if (action.canonical !== "delivery_statuses" || report.status === undefined) return contentHash(envelope);
    const metadata = { ...envelope.metadata, in_reply_to: report.status.intent_id };
    return contentHash({ ...envelope, metadata, payload: { ...report.status } });
  } catch (error) {
    if (isFabricError(error)) return error;
    throw error;
  }
}

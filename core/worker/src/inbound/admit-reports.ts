/** Who may report what of intents: the checks of envelopes that hold one report or many. */
import { FabricError, type Opened } from "@linkspan/envelopes";
import type { Identity, IntentOwner } from "@linkspan/store";
import { claimOf, objectionToIdentity, speakerOf } from "../authority.ts";
import { type Report, reportsIn } from "../outbound/follow.ts";
import { objectionToForeign } from "./foreign-accounts.ts";

/** The rows of the identities and intents that are reported on, by their ids. */
export interface ReportFacts {
  readonly identities: ReadonlyMap<string, Identity>;
  readonly owners: ReadonlyMap<string, IntentOwner>;
}

const NONE: ReadonlyMap<number, FabricError> = new Map();

/** A report that answers an intent must be on that intent. */
export function wrongReply({ action, envelope }: Opened): FabricError | undefined {
  const { metadata, payload } = envelope;
  if (claimOf(action.canonical) !== "outcome" || metadata.in_reply_to === undefined) return undefined;
  return metadata.in_reply_to === payload.intent_id
    ? undefined
    : new FabricError("envelope.schema", "metadata.in_reply_to is not the intent in the payload");
}

/**
 * A report on an intent must come from the instance that serves the identity, and the intent must have been given to
 * that identity. Each report is checked alone.
 *
 * @returns by place in the envelope; the reports that are not in it are admitted
 */
export function refusedReports(opened: Opened, facts: ReportFacts): ReadonlyMap<number, FabricError> {
  const { action, envelope } = opened;
  if (claimOf(action.canonical) !== "outcome") return NONE;
  const wrong = new Map<number, FabricError>();
  for (const [at, report] of reportsIn(envelope).entries()) {
    const identity = facts.identities.get(report.identityId ?? "");
    const error =
      opened.kid === undefined
        ? objectionToForeign(envelope, identity)
        : (objectionToReporter(opened, report, identity) ?? wrongIntent(report, facts));
    if (error !== undefined) wrong.set(at, error);
  }
  return wrong;
}

function objectionToReporter(
  { envelope, kid }: Opened,
  { workspaceId }: Report,
  identity: Identity | undefined,
): FabricError | undefined {
  const { issuer, epoch } = envelope.metadata;
  return objectionToIdentity("outcome", speakerOf(issuer, epoch, kid), workspaceId, identity);
}

function wrongIntent(report: Report, { owners }: ReportFacts): FabricError | undefined {
  const owner = owners.get((report.status ?? report.deferred).intent_id);
  if (owner === undefined) return undefined;
  const own =
    owner.workspace_id === report.workspaceId &&
    owner.identity_id === report.identityId &&
    owner.service === report.service;
  return own
    ? undefined
    : new FabricError("envelope.wrong_issuer", "the intent was given to another identity");
}

/** The identity that chooses the partition of many reports must be that of one of them. */
export function wrongPartition({ action, envelope }: Opened): FabricError | undefined {
  const { identity_id } = envelope.metadata;
  if (action.canonical !== "delivery_statuses" || identity_id === undefined) return undefined;
  return reportsIn(envelope).some(({ identityId }) => identityId === identity_id)
    ? undefined
    : new FabricError(
        "envelope.schema",
        "metadata.identity_id is none of the identities that are reported on",
      );
}

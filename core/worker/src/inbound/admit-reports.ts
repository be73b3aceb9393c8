/** Who may report what of intents: the checks of envelopes that hold one report or many. */
import { FabricError, type Opened } from "@linkspan/envelopes";
import type { Identity, IntentOwner } from "@linkspan/store";
import { claimOf, objectionToIdentity, speakerOf } from "../authority.ts";
import { reportsIn } from "../outbound/follow.ts";

/** What the tables say of the identities and intents that are reported of, by their ids. */
export interface ReportFacts {
  readonly identities: ReadonlyMap<string, Identity>;
  readonly owners: ReadonlyMap<string, IntentOwner>;
}

/** What answers an intent is about that intent. */
export function wrongReply({ action, envelope }: Opened): FabricError | undefined {
  const { metadata, payload } = envelope;
  if (claimOf(action.canonical) !== "outcome" || metadata.in_reply_to === undefined) return undefined;
  return metadata.in_reply_to === payload.intent_id
    ? undefined
    : new FabricError("envelope.schema", "metadata.in_reply_to is not the intent in the payload");
}

/**
 * What is reported of an intent is reported by the identity that it was given to, and of an identity by the instance
 * that serves it: each report for itself.
 */
export function refusedReports(
  { action, envelope, kid }: Opened,
  facts: ReportFacts,
): Map<number, FabricError> {
  const wrong = new Map<number, FabricError>();
  if (claimOf(action.canonical) !== "outcome") return wrong;
  const { issuer, epoch } = envelope.metadata;
  const speaker = speakerOf(issuer, epoch, kid);
  for (const [at, { workspaceId, identityId = "", service, ...report }] of reportsIn(envelope).entries()) {
    const owner = facts.owners.get((report.status ?? report.deferred).intent_id);
    const own =
      owner === undefined ||
      (owner.workspace_id === workspaceId && owner.identity_id === identityId && owner.service === service);
    const error =
      objectionToIdentity("outcome", speaker, workspaceId, facts.identities.get(identityId)) ??
      (own
        ? undefined
        : new FabricError("envelope.wrong_issuer", "the intent was given to another identity"));
    if (error !== undefined) wrong.set(at, error);
  }
  return wrong;
}

/** The identity that chooses the partition of many reports is that of one of them. */
export function wrongPartition({ envelope }: Opened): FabricError | undefined {
  const { identity_id } = envelope.metadata;
  return identity_id === undefined || reportsIn(envelope).some(({ identityId }) => identityId === identity_id)
    ? undefined
    : new FabricError(
        "envelope.schema",
        "metadata.identity_id is none of the identities that are reported of",
      );
}

/**
 * Checks of an envelope that need the tables.
 *
 * An envelope is admitted when its issuer has authority over the account that it names (see authority.ts),
 * its ids are the ones that its content implies, the intent that it reports on was given to that account, its
 * conversation belongs to the workspace and to no other account, and the connector is switched on.
 */
import {
  accountOf,
  type CanonicalEvent,
  eventId,
  FabricError,
  type HistoryBatch,
  InboundEventSchema,
  isEvent,
  isFabricError,
  LIMITS,
  type Opened,
  toCanonicalEvent,
  traceIdOf,
} from "@linkspan/envelopes";
import {
  currentLeases,
  type Identity,
  identitiesById,
  type IntentOwner,
  intentOwners,
  type Lease,
  type Queryable,
} from "@linkspan/store";
import {
  type Claim,
  claimOf,
  objectionToIdentity,
  objectionToLease,
  type Speaker,
  speakerOf,
} from "../authority.ts";
import { type ConnectorSwitch, connectorSwitch } from "../flags/switch.ts";
import { reportsIn } from "../outbound/follow.ts";
import { refusedReports, wrongPartition, wrongReply } from "./admit-reports.ts";
import { accountNamed, type Admission, type Admitted, conversationsIn, privateOwnerOf } from "./admitted.ts";
import { nameForeignAccounts, objectionToForeign } from "./foreign-accounts.ts";
import { membersOf } from "./history.ts";

export type { Admission, Admitted } from "./admitted.ts";

/**
 * @returns all received envelopes in order, each admitted batch of history followed by its members; without
 *   late reports of accounts that were unlinked
 */
export async function admit(
  on: Queryable,
  received: readonly Omit<Admitted, "event">[],
): Promise<Admission[]> {
  if (received.length === 0) return [];
  const batch = await nameForeignAccounts(on, received.map(withEvent));
  const facts: Facts = {
    identities: await identitiesIn(on, batch),
    leases: await leasesOf(on, batch),
    owners: await ownersIn(on, batch),
  };
  const enabled = await connectorSwitch(on, workspacesOfEvents(batch));
  const admissions: Admission[] = [];
  for (const item of batch) {
    if (isLastWord(item, facts)) continue;
    const refused = item.refused ?? objection(item, facts, enabled);
    if (refused !== undefined) {
      admissions.push({ ...item, refused });
      continue;
    }
    const refusedMembers = refusedReports(item.opened, facts);
    admissions.push(refusedMembers.size === 0 ? item : { ...item, refusedMembers });
    if (item.opened.action.canonical === "history_batch") {
      admissions.push(...membersOf(item, homeOf(item, facts)));
    }
  }
  return admissions;
}

function homeOf(item: Admitted, { identities }: Facts): string {
  return identities.get(accountNamed(item) ?? "")?.home ?? item.opened.envelope.metadata.instance;
}

/** A payload under Msgr's name is mapped, and the result must keep the limits of the canonical event. */
function withEvent(item: Omit<Admitted, "event">): Admission {
  const { action, envelope } = item.opened;
  if (action.canonical !== "inbound_event") return item;
  const { metadata, payload, service } = envelope;
  try {
    const event = toCanonicalEvent(service, action.name, payload, {
      workspaceId: metadata.workspace_id,
      instance: metadata.instance,
      account: accountOf(payload, metadata, metadata.instance),
      occurredAt: envelope.occurred_at,
      conversation: metadata.conversation,
    });
    if (event.payload === payload || isWithinBounds(event)) return { ...item, event };
    return { ...item, refused: refused("envelope.schema", "the event that it stands for is out of bounds") };
  } catch (error) {
    if (isFabricError(error)) return { ...item, refused: error };
    throw error;
  }
}

function isWithinBounds({ conversation, payload }: CanonicalEvent): boolean {
  return (
    InboundEventSchema.safeParse(payload).success &&
    (conversation === undefined || Buffer.byteLength(conversation) <= LIMITS.refBytes)
  );
}

interface Facts {
  /** By id: the reporting accounts, and the accounts whose private conversations are named. */
  readonly identities: ReadonlyMap<string, Identity>;
  /** By `<service> <instance>`. */
  readonly leases: ReadonlyMap<string, Lease>;
  readonly owners: ReadonlyMap<string, IntentOwner>;
}

function objection(item: Admitted, facts: Facts, enabled: ConnectorSwitch): FabricError | undefined {
  const { opened } = item;
  const { metadata, service } = opened.envelope;
  if (opened.kid === undefined) return foreignObjection(item, facts);
  if (metadata.issuer !== `daemon:${service}:${metadata.instance}`) {
    return refused("envelope.wrong_issuer", "only the instance's own daemon reports for it");
  }
  const claim = claimOf(opened.action.canonical);
  const speaker = speakerOf(metadata.issuer, metadata.epoch, opened.kid);
  return (
    objectionToLease(claim, speaker, facts.leases.get(`${service} ${metadata.instance}`)) ??
    wrongAccount(item, claim, speaker, facts) ??
    wrongPartition(opened) ??
    wrongHistory(opened) ??
    wrongReply(opened) ??
    wrongConversation(item, facts) ??
    wrongIdentity(item, facts) ??
    switchedOff(opened, enabled)
  );
}

/**
 * A foreign daemon in a development namespace holds no key, and its events are marked as unsigned. Its
 * envelope must still be consistent in itself, and with the account that it names, if any.
 */
function foreignObjection(item: Admitted, facts: Facts): FabricError | undefined {
  const { opened } = item;
  // Reports on intents are checked one by one.
  const account = claimOf(opened.action.canonical) === "outcome" ? undefined : accountNamed(item);
  return (
    objectionToForeign(opened.envelope, facts.identities.get(account ?? "")) ??
    wrongPartition(opened) ??
    wrongHistory(opened) ??
    wrongConversation(item, facts)
  );
}

/**
 * A late report of an account's own daemon after the account was unlinked: that it disconnected, and its last
 * cursor. It changes nothing and needs no attention.
 */
function isLastWord(item: Admitted, { identities }: Facts): boolean {
  const { envelope, action, kid } = item.opened;
  const { issuer, epoch, workspace_id: workspaceId } = envelope.metadata;
  const identity = identities.get(accountNamed(item) ?? "");
  if (claimOf(action.canonical) !== "report" || identity?.state !== "unlinked") return false;
  return objectionToIdentity("outcome", speakerOf(issuer, epoch, kid), workspaceId, identity) === undefined;
}

/** A named account must be one that the sender speaks for; if it is named twice, both names must be equal. */
function wrongAccount(
  item: Admitted,
  claim: Claim,
  speaker: Speaker,
  { identities }: Facts,
): FabricError | undefined {
  const { metadata } = item.opened.envelope;
  const account = accountNamed(item);
  // Each of its reports names its own account.
  if (item.opened.action.canonical === "delivery_statuses") return undefined;
  if (account === undefined) {
    return claim === "outcome" ? refused("envelope.schema", "metadata.identity_id is missing") : undefined;
  }
  if (metadata.identity_id !== undefined && metadata.identity_id !== account) {
    return refused("envelope.schema", "metadata.identity_id is not the account in the payload");
  }
  return objectionToIdentity(claim, speaker, metadata.workspace_id, identities.get(account));
}

/** A batch of history must belong to one conversation. */
function wrongHistory({ action, envelope }: Opened): FabricError | undefined {
  if (action.canonical !== "history_batch") return undefined;
  const { conversation } = envelope.payload as HistoryBatch;
  const own = (envelope.metadata.conversation ?? conversation) === conversation;
  return own ? undefined : refused("envelope.schema", "a history is of one conversation");
}

/** The conversation must belong to this workspace and service, and must not be private to another account. */
function wrongConversation(item: Admitted, { identities }: Facts): FabricError | undefined {
  const { service, metadata } = item.opened.envelope;
  const prefix = `msgr://channels/${metadata.workspace_id}/bridge/${service}/`;
  for (const conversation of conversationsIn(item)) {
    if (!conversation.startsWith(prefix)) {
      return refused("envelope.schema", "the conversation is not one of this workspace and service");
    }
    const owner = privateOwnerOf(conversation);
    const isKnown = item.opened.kid === undefined || (owner !== undefined && identities.has(owner));
    if (owner !== undefined && owner !== accountNamed(item) && isKnown) {
      return refused("envelope.wrong_issuer", "the conversation is another account's private one");
    }
  }
  return undefined;
}

function wrongIdentity(item: Admitted, { identities }: Facts): FabricError | undefined {
  if (item.event === undefined) return undefined;
  const { envelope } = item.opened;
  const { account, kind, remote_id: remoteId, revision } = item.event.payload;
  const expected = eventId({
    workspace: envelope.metadata.workspace_id,
    service: envelope.service,
    home: identities.get(account)?.home ?? envelope.metadata.instance,
    account,
    kind,
    remoteId,
    revision,
  });
  if (envelope.metadata.message_id === expected && envelope.trace_id === traceIdOf(expected))
    return undefined;
  return refused("envelope.schema", "message_id or trace_id is not the one that this event implies");
}

function switchedOff(opened: Opened, enabled: ConnectorSwitch): FabricError | undefined {
  if (!isEvent(opened.action)) return undefined;
  const { service, metadata } = opened.envelope;
  if (enabled(metadata.workspace_id, service)) return undefined;
  return refused("flag.disabled", `the ${service} connector is switched off for this workspace`);
}

async function identitiesIn(on: Queryable, batch: readonly Admitted[]): Promise<Map<string, Identity>> {
  const ids = new Set<string>();
  for (const item of batch) {
    const named = [...accountsNamed(item), ...conversationsIn(item).map(privateOwnerOf)];
    for (const id of named) {
      if (id !== undefined) ids.add(id);
    }
  }
  if (ids.size === 0) return new Map();
  const identities = await identitiesById(on, [...ids]);
  return new Map(identities.map((identity) => [identity.id, identity]));
}

async function ownersIn(on: Queryable, batch: readonly Admitted[]): Promise<Map<string, IntentOwner>> {
  const ids = batch
    .filter(({ opened }) => claimOf(opened.action.canonical) === "outcome")
    .flatMap(({ opened }) => reportsIn(opened.envelope))
    .map(({ status, deferred }) => (status ?? deferred).intent_id);
  if (ids.length === 0) return new Map();
  return new Map((await intentOwners(on, ids)).map((owner) => [owner.id, owner]));
}

/** Uses one statement, however many instances a batch comes from. */
async function leasesOf(on: Queryable, batch: readonly Admitted[]): Promise<Map<string, Lease>> {
  const instances = batch.map(({ opened: { envelope } }) => ({
    service: envelope.service,
    instance: envelope.metadata.instance,
  }));
  const unique = new Map(instances.map((one) => [`${one.service} ${one.instance}`, one]));
  const leases = await currentLeases(on, [...unique.values()]);
  return new Map(leases.map((lease) => [`${lease.service} ${lease.instance}`, lease]));
}

function workspacesOfEvents(batch: readonly Admitted[]): string[] {
  const events = batch.filter(({ opened }) => isEvent(opened.action));
  return [...new Set(events.map(({ opened }) => opened.envelope.metadata.workspace_id))];
}

function accountsNamed(item: Admitted): (string | undefined)[] {
  const { action, envelope } = item.opened;
  if (action.canonical !== "delivery_statuses") return [accountNamed(item)];
  return reportsIn(envelope).map(({ identityId }) => identityId);
}

function refused(
  code: "envelope.wrong_issuer" | "envelope.schema" | "flag.disabled",
  why: string,
): FabricError {
  return new FabricError(code, why);
}

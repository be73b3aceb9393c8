/**
 * Who may say what: the checks that need the tables.
 *
 * An envelope is admitted when its issuer holds the instance (current epoch), the account it reports for is
 * one of that instance's identities in the same workspace, its ids are the ones its content implies, its
 * conversation belongs to the workspace, and the connector is switched on.
 */
import {
  type CanonicalEvent,
  eventId,
  FabricError,
  type Opened,
  toCanonicalEvent,
  traceIdOf,
} from "@linkspan/envelopes";
import type { Delivery } from "@linkspan/fabric";
import { currentLease, type Identity, identitiesById, type Lease, type Queryable } from "@linkspan/store";
import { connectorSwitch } from "../flags/switch.ts";

export interface Admitted {
  readonly delivery: Delivery;
  readonly opened: Opened;
  /** The platform event in its canonical form, whatever name it came under; absent on everything else. */
  readonly event?: CanonicalEvent;
}

export type Admission = Admitted & { readonly refused?: FabricError };

export async function admit(
  on: Queryable,
  received: readonly Omit<Admitted, "event">[],
): Promise<Admission[]> {
  if (received.length === 0) return [];
  const batch = received.map(withEvent);
  const accounts = await accountsOf(on, batch);
  const leases = await leasesOf(on, batch);
  const enabled = connectorSwitch(on);
  const admissions: Admission[] = [];
  for (const item of batch) {
    const refused = await objection(item, accounts, leases, enabled);
    admissions.push(refused === undefined ? item : { ...item, refused });
  }
  return admissions;
}

function withEvent(item: Omit<Admitted, "event">): Admitted {
  const { action, envelope } = item.opened;
  if (action.canonical !== "inbound_event") return item;
  const { metadata, payload, service } = envelope;
  const event = toCanonicalEvent(service, action.name, payload, {
    workspaceId: metadata.workspace_id,
    instance: metadata.instance,
    account: metadata.identity_id ?? metadata.user_id ?? metadata.instance,
    occurredAt: envelope.occurred_at,
    conversation: metadata.conversation,
  });
  return { ...item, event };
}

async function objection(
  item: Admitted,
  accounts: ReadonlyMap<string, Identity>,
  leases: ReadonlyMap<string, Lease | undefined>,
  enabled: ReturnType<typeof connectorSwitch>,
): Promise<FabricError | undefined> {
  const { opened } = item;
  const { metadata, service } = opened.envelope;
  // A foreign daemon on a development namespace: nothing is known of it, and its events say so.
  if (opened.kid === undefined) return undefined;
  return (
    wrongIssuer(opened, leases.get(`${service} ${metadata.instance}`)) ??
    wrongAccount(item, accounts) ??
    wrongConversation(opened) ??
    wrongIdentity(item, accounts) ??
    (await switchedOff(opened, enabled))
  );
}

function wrongIssuer(opened: Opened, lease: Lease | undefined): FabricError | undefined {
  const { service, metadata } = opened.envelope;
  if (metadata.issuer !== `daemon:${service}:${metadata.instance}`) {
    return refused("envelope.wrong_issuer", "only the instance's own daemon reports for it");
  }
  if (lease === undefined) return undefined;
  if (metadata.epoch === undefined && !lease.live) return undefined;
  if (metadata.epoch === lease.epoch) return undefined;
  return refused("envelope.wrong_issuer", "another process holds this instance now");
}

function wrongAccount(item: Admitted, accounts: ReadonlyMap<string, Identity>): FabricError | undefined {
  const { service, metadata } = item.opened.envelope;
  const account = accountNamed(item);
  if (account === undefined) return undefined;
  const identity = accounts.get(account);
  const served =
    identity !== undefined &&
    identity.workspace_id === metadata.workspace_id &&
    identity.service === service &&
    identity.instance === metadata.instance;
  return served
    ? undefined
    : refused("envelope.wrong_issuer", "the instance does not serve this account here");
}

function wrongConversation(opened: Opened): FabricError | undefined {
  const { service, metadata } = opened.envelope;
  if (metadata.conversation === undefined) return undefined;
  if (metadata.conversation.startsWith(`msgr://channels/${metadata.workspace_id}/bridge/${service}/`))
    return undefined;
  return refused("envelope.schema", "the conversation is not one of this workspace and service");
}

function wrongIdentity(item: Admitted, accounts: ReadonlyMap<string, Identity>): FabricError | undefined {
  if (item.event === undefined) return undefined;
  const { envelope } = item.opened;
  const { account, kind, remote_id: remoteId, revision } = item.event.payload;
  const expected = eventId({
    workspace: envelope.metadata.workspace_id,
    service: envelope.service,
    home: accounts.get(account)?.home ?? envelope.metadata.instance,
    account,
    kind,
    remoteId,
    revision,
  });
  if (envelope.metadata.message_id === expected && envelope.trace_id === traceIdOf(expected))
    return undefined;
  return refused("envelope.schema", "message_id or trace_id is not the one that this event implies");
}

async function switchedOff(
  opened: Opened,
  enabled: ReturnType<typeof connectorSwitch>,
): Promise<FabricError | undefined> {
  if (opened.action.canonical !== "inbound_event") return undefined;
  const { service, metadata } = opened.envelope;
  if (await enabled(metadata.workspace_id, service)) return undefined;
  return refused("flag.disabled", `the ${service} connector is switched off for this workspace`);
}

async function accountsOf(on: Queryable, batch: readonly Admitted[]): Promise<Map<string, Identity>> {
  const ids = new Set(batch.map(accountNamed).filter((id) => id !== undefined));
  if (ids.size === 0) return new Map();
  const identities = await identitiesById(on, [...ids]);
  return new Map(identities.map((identity) => [identity.id, identity]));
}

async function leasesOf(on: Queryable, batch: readonly Admitted[]): Promise<Map<string, Lease | undefined>> {
  const leases = new Map<string, Lease | undefined>();
  for (const { opened } of batch) {
    const { service, metadata } = opened.envelope;
    const key = `${service} ${metadata.instance}`;
    if (!leases.has(key)) leases.set(key, await currentLease(on, service, metadata.instance));
  }
  return leases;
}

function accountNamed({ opened, event }: Admitted): string | undefined {
  const { account } = event?.payload ?? opened.envelope.payload;
  return typeof account === "string" ? account : opened.envelope.metadata.identity_id;
}

function refused(
  code: "envelope.wrong_issuer" | "envelope.schema" | "flag.disabled",
  why: string,
): FabricError {
  return new FabricError(code, why);
}

/**
 * The accounts of unsigned daemons: which one an event belongs to, and which ones an envelope may name.
 *
 * Msgr's SDKs name the backend's user that an account belongs to, but no account. If that user has exactly one
 * linked account at the daemon's instance, the event belongs to that account. Its message id and its conversation
 * are then computed as if the account had been named, so that all three agree. The received bytes are not changed.
 */
import { encodeSegment, type Envelope, eventId, FabricError, traceIdOf } from "@linkspan/envelopes";
import { type Identity, type LinkedAs, linkedIdentities, type Queryable } from "@linkspan/store";
import type { Admission } from "./admitted.ts";

/** @returns the batch in order; only unsigned events are changed */
export async function nameForeignAccounts(on: Queryable, batch: readonly Admission[]): Promise<Admission[]> {
  const users = batch.flatMap((item) => userOf(item) ?? []);
  if (users.length === 0) return [...batch];
  const accounts = byUser(await linkedIdentities(on, users));
  return batch.map((item) => {
    const user = userOf(item);
    const known = user === undefined ? undefined : accounts.get(nameOf(user));
    // With several accounts of one user, the event does not say which one it means.
    return known?.length === 1 && known[0] !== undefined ? ofAccount(item, known[0]) : item;
  });
}

/** The user that an unsigned event belongs to when it names no account itself. */
function userOf({ opened, event, refused }: Admission): LinkedAs | undefined {
  if (opened.kid !== undefined || event === undefined || refused !== undefined) return undefined;
  const { metadata, payload, service } = opened.envelope;
  if (metadata.identity_id !== undefined || payload.account !== undefined) return undefined;
  const { account } = event.payload;
  return { workspace_id: metadata.workspace_id, service, instance: metadata.instance, user_id: account };
}

function ofAccount(item: Admission, { id, home }: Identity): Admission {
  const { event, opened } = item;
  if (event === undefined) return item;
  const { envelope } = opened;
  const payload = { ...event.payload, account: id };
  const conversation = event.conversation
    ?.split("/")
    .map((segment) =>
      segment === encodeSegment(`~${event.payload.account}`) ? encodeSegment(`~${id}`) : segment,
    )
    .join("/");
  const message_id = eventId({
    workspace: envelope.metadata.workspace_id,
    service: envelope.service,
    home,
    account: id,
    kind: payload.kind,
    remoteId: payload.remote_id,
    revision: payload.revision,
  });
  const metadata = {
    ...envelope.metadata,
    identity_id: id,
    message_id,
    ...(conversation !== undefined && { conversation }),
  };
  return {
    ...item,
    opened: { ...opened, envelope: { ...envelope, metadata, trace_id: traceIdOf(message_id) } },
    event: { payload, conversation },
  };
}

function byUser(identities: readonly Identity[]): ReadonlyMap<string, Identity[]> {
  const users = new Map<string, Identity[]>();
  for (const identity of identities) {
    const known = users.get(nameOf(identity));
    if (known === undefined) users.set(nameOf(identity), [identity]);
    else known.push(identity);
  }
  return users;
}

function nameOf({ workspace_id, service, instance, user_id }: LinkedAs): string {
  return JSON.stringify([workspace_id, service, instance, user_id]);
}

/**
 * Checks that the instance serves the account that an unsigned envelope names, and that the account is that of the
 * user whom the envelope names, if any.
 *
 * @param identity undefined: no account, or none that is known
 */
export function objectionToForeign(
  { metadata, service, payload }: Envelope,
  identity: Identity | undefined,
): FabricError | undefined {
  if (identity === undefined) return undefined;
  const own =
    identity.workspace_id === metadata.workspace_id &&
    identity.service === service &&
    identity.instance === metadata.instance;
  if (!own) return new FabricError("envelope.wrong_issuer", "the instance does not serve this account here");
  const user = metadata.user_id ?? userNamed(payload);
  if (user === undefined || user === identity.user_id) return undefined;
  return new FabricError("envelope.wrong_issuer", "the account belongs to another user than the one named");
}

function userNamed({ user_id }: Readonly<Record<string, unknown>>): string | undefined {
  return typeof user_id === "string" || typeof user_id === "number" ? String(user_id) : undefined;
}

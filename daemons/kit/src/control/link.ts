/**
 * Linking: checks whether a login works and which account it belongs to. It makes one try, with credentials
 * leased only for that try. Events of the platform during the try are dropped, because the identity is not
 * linked yet.
 *
 * A connector with `link` decides by itself. For the others a connection is opened and its first conclusive
 * state decides: `connected` is linked; `bad_credentials`, `logged_out`, `unsupported` and `unknown_error`
 * are failures.
 */
import {
  CODES,
  type Envelope,
  FabricError,
  isFabricError,
  type LinkRequest,
  type SealKeys,
} from "@linkspan/envelopes";
import { aborted, childOf } from "@linkspan/time";
import type { Logger } from "pino";
import type { Author } from "../bus/author.ts";
import type { Clock } from "../shared/clock.ts";
import type { BridgeState, Connector, LinkedIdentity, LinkOutcome } from "../connector.ts";
import { clip } from "../shared/clip.ts";
import type { CoreCalls } from "../bus/core-calls.ts";
import { Barrier } from "../identity/barrier.ts";
import { Credentials } from "../identity/credentials.ts";
import { failureOf } from "../identity/failure.ts";
import { hostOf } from "../identity/host.ts";
import { RowLane } from "../rows/row-lane.ts";
import { RowSession } from "../rows/row-session.ts";
import { checkDeclared, closeConnection, openConnection } from "../identity/opening.ts";

export interface LinkContext {
  readonly connector: Connector;
  readonly instance: string;
  readonly author: Author;
  readonly calls: CoreCalls;
  readonly sealKeys: SealKeys;
  readonly vaultSealKey: () => Uint8Array | undefined;
  readonly clock: Clock;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

const TRY_FOR_MS = 60_000;

/** Rejects only when the term ends; any other failure is returned as the outcome. */
export async function tryLink(request: Envelope, context: LinkContext): Promise<LinkOutcome> {
  const attempt = childOf(context.signal);
  const timer = setTimeout(() => attempt.abort(tooLong()), TRY_FOR_MS);
  try {
    const identity = identityOf(request, context.instance);
    await using credentials = await credentialsFor(request, identity, context, attempt);
    using barrier = new Barrier({ log: context.log, onFailure: (error) => attempt.abort(error) });
    return await outcomeOf(identity, credentials, barrier, context, attempt.signal);
  } catch (error) {
    context.signal.throwIfAborted();
    const cause: unknown = attempt.signal.aborted ? attempt.signal.reason : error;
    context.log.warn({ event: "link.failed", err: cause });
    const { code } = failureOf(cause);
    const message = isFabricError(cause) ? clip(cause.message) : CODES[code].help;
    return { status: "failed", code, message };
  } finally {
    clearTimeout(timer);
    attempt.abort();
  }
}

/** The identity of a link request: its settings, or Msgr's fields unchanged. */
export function identityOf({ metadata, payload }: Envelope, home: string): LinkedIdentity {
  const {
    settings,
    identity_id,
    session_id: _session,
    step: _step,
    metadata: _lifted,
    ...fields
  } = payload as LinkRequest & Record<string, unknown>;
  const identityId = metadata.identity_id ?? identity_id;
  if (identityId === undefined) throw new FabricError("request.invalid", "a link request names an identity");
  return {
    identityId,
    workspaceId: metadata.workspace_id,
    userId: metadata.user_id ?? "",
    home,
    settings: settings ?? fields,
    checkpoint: undefined,
  };
}

async function credentialsFor(
  { metadata }: Envelope,
  identity: LinkedIdentity,
  context: LinkContext,
  attempt: AbortController,
): Promise<Credentials> {
  const { ticket } = metadata;
  if (ticket === undefined)
    throw new FabricError("ticket.missing", "a link request carries a session ticket");
  return Credentials.checkOut(
    {
      ...context,
      daemon: context.author.issuer,
      workspaceId: identity.workspaceId,
      identityId: identity.identityId,
      ticket: () => Promise.resolve(ticket),
      lost: (error) => attempt.abort(error),
    },
    attempt.signal,
  );
}

async function outcomeOf(
  identity: LinkedIdentity,
  credentials: Credentials,
  barrier: Barrier,
  context: LinkContext,
  signal: AbortSignal,
): Promise<LinkOutcome> {
  const { connector } = context;
  const log = context.log.child({ identity_id: identity.identityId, link: true });
  const told = Promise.withResolvers<BridgeState>();
  const host = hostOf({
    log,
    signal,
    barrier,
    credentials,
    rows: new RowSession(new RowLane(identity, context, log), signal),
    event: () => Promise.resolve(),
    state: (state) => {
      if (TELLING.has(state.state)) told.resolve(state);
    },
    throttle: () => undefined,
  });
  checkDeclared(connector, credentials);
  if (connector.link !== undefined) {
    const linking = barrier.call(() => connector.link?.(identity, host));
    const outcome = await untilAborted(linking, signal);
    if (outcome === undefined) throw new FabricError("internal", "the connector gave no outcome");
    return outcome;
  }
  const connection = await openConnection(identity, host, { ...context, barrier, log }, signal);
  try {
    const { state, code, message } = await untilAborted(told.promise, signal);
    if (state !== "connected") {
      return { status: "failed", code: code ?? "platform.auth_expired", message: clip(message) };
    }
    const { remote = identity.identityId, name = identity.userId } = connection.self ?? {};
    return { status: "linked", remote, name };
  } finally {
    await closeConnection(connection, barrier, log);
  }
}

const TELLING: ReadonlySet<string> = new Set([
  "connected",
  "bad_credentials",
  "logged_out",
  "unsupported",
  "unknown_error",
]);

async function untilAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const end = aborted(signal).then((): never => {
    throw signal.reason;
  });
  end.catch(() => undefined);
  return Promise.race([work, end]);
}

function tooLong(): FabricError {
  return new FabricError("platform.unavailable", "the platform did not let us in within a minute");
}

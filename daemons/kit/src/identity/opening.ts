/**
 * Opens and closes a connector's connection, each with a timeout. A connection that opens too late is closed.
 */
import { checkField, FabricError, fieldOf } from "@linkspan/envelopes";
import { childOf, within } from "@linkspan/time";
import type { Logger } from "pino";
import { type Clock, pause } from "../shared/clock.ts";
import type { Connection, Connector, IdentityHost, LinkedIdentity } from "../connector.ts";
import type { Secrets } from "../secrets.ts";
import type { Barrier } from "./barrier.ts";

export interface OpeningOptions {
  readonly connector: Connector;
  readonly barrier: Barrier;
  readonly clock: Clock;
  readonly log: Logger;
}

/** `open` only begins to keep a connection, so this is a generous timeout. */
const OPEN_WITHIN_MS = 60_000;
const CLOSE_WITHIN_MS = 3_000;

/**
 * Opens a connection. One that opens after `signal` was aborted, or after a minute, is closed again at once.
 *
 * @throws FabricError `platform.unavailable` when it takes too long; the signal's reason; what `open` rejects
 *   with
 */
export async function openConnection(
  identity: LinkedIdentity,
  host: IdentityHost,
  { connector, barrier, clock, log }: OpeningOptions,
  signal: AbortSignal,
): Promise<Connection> {
  checkDeclared(connector, host.secrets);
  const over = childOf(signal);
  let isLate = false;
  const opening = barrier
    .call(() => connector.open(identity, host))
    .then((connection) => {
      if (!isConnection(connection)) throw new FabricError("internal", "the connector opened no connection");
      if (isLate) void closeConnection(connection, barrier, log);
      return connection;
    });
  const late = pause(clock, OPEN_WITHIN_MS, over.signal).then(async (): Promise<never> => {
    // After the abort the connector gets a short time to stop, so that the next connection does not overlap
    // this one.
    await within(CLOSE_WITHIN_MS, Promise.allSettled([opening]));
    isLate = true;
    signal.throwIfAborted();
    throw new FabricError("platform.unavailable", "the connection was not opened within a minute");
  });
  try {
    return await Promise.race([opening, late]);
  } finally {
    late.catch(() => undefined);
    over.abort();
  }
}

/**
 * Checks the secrets against the platform's syntax, as the connector declared it. A secret that was stored
 * before the declaration, or came another way, must not reach the code that writes to the platform.
 *
 * @throws FabricError `request.invalid` naming the field
 */
export function checkDeclared({ declaration }: Connector, secrets: Secrets): void {
  if (declaration === undefined) return;
  for (const name of secrets.names) {
    const field = fieldOf(declaration, name);
    const bytes = secrets.get(name);
    if (field === undefined || bytes === undefined) continue;
    if (!field.secret) throw new FabricError("request.invalid", `${name} is stored as a secret, but is none`);
    checkField(field, name, new TextDecoder().decode(bytes));
  }
}

/** Closes a connection cleanly, within seconds; never rejects. */
export async function closeConnection(
  connection: AsyncDisposable,
  barrier: Barrier,
  log: Logger,
): Promise<void> {
  try {
    await within(
      CLOSE_WITHIN_MS,
      barrier.call(() => connection[Symbol.asyncDispose]()),
    );
  } catch (error) {
    log.warn({ event: "connection.unclosed", err: error });
  }
}

function isConnection(value: unknown): value is Connection {
  if (typeof value !== "object" || value === null) return false;
  const { plan, perform } = value as { readonly plan?: unknown; readonly perform?: unknown };
  return typeof plan === "function" && typeof perform === "function";
}

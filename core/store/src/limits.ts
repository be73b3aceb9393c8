/** How long anything that asks the database may take. Every wait has an end, on both sides of the connection. */

export interface Limits {
  /** To connect, or to get a free connection of the pool. */
  readonly connectMs: number;
  /** The server ends a statement after this. */
  readonly statementMs: number;
  /** The server ends a statement that waits for a lock after this. */
  readonly lockMs: number;
  /** The server ends a session that is silent inside a transaction after this; its locks are free then. */
  readonly idleInTransactionMs: number;
  /** A connection that does not answer a statement for this long is taken for dead, and destroyed. */
  readonly answerMs: number;
}

/** For requests and messages. */
export const SHORT_WORK: Limits = {
  connectMs: 5_000,
  statementMs: 10_000,
  lockMs: 5_000,
  idleInTransactionMs: 10_000,
  answerMs: 12_000,
};

/**
 * Migrations, and what keeps tables small: they may work long, but wait for a lock only shortly, because
 * whoever waits for a strong lock holds up everybody behind it.
 */
export const LONG_WORK: Limits = {
  connectMs: 5_000,
  statementMs: 3_600_000,
  lockMs: 2_000,
  idleInTransactionMs: 600_000,
  answerMs: 3_660_000,
};

/** Time that a closed connection has to end cleanly. */
export const GOODBYE_MS = 2_000;
/** Before the first TCP keepalive probe on an idle connection. */
export const KEEPALIVE_MS = 10_000;

/** Settings of a session, in the form of `options` at its start. */
export function sessionOptions(limits: Limits): string {
  const settings = {
    statement_timeout: limits.statementMs,
    lock_timeout: limits.lockMs,
    idle_in_transaction_session_timeout: limits.idleInTransactionMs,
    // A session whose client is gone without a word: the server finds out by itself, and ends its transaction.
    tcp_keepalives_idle: 10,
    tcp_keepalives_interval: 5,
    tcp_keepalives_count: 3,
  };
  return Object.entries(settings)
    .map(([name, value]) => `-c ${name}=${value}`)
    .join(" ");
}

/** Collects errors that reach the process while some code runs; a connector must never cause one. */
import { setImmediate as turn } from "node:timers/promises";

const KINDS = ["uncaughtException", "unhandledRejection"] as const;

/**
 * @returns the errors that nobody caught until `act` and the event loop turn after it had ended; other
 *   listeners do not receive them
 */
export async function strayErrors(act: () => Promise<void>): Promise<readonly unknown[]> {
  const strays: unknown[] = [];
  const keep = (error: unknown): void => void strays.push(error);
  const others = KINDS.map((kind) => process.rawListeners(kind) as ((error: unknown) => void)[]);
  for (const kind of KINDS) process.removeAllListeners(kind).on(kind, keep);
  try {
    await act();
    for (let turns = 0; turns < 3; turns++) await turn();
  } finally {
    for (const [index, kind] of KINDS.entries()) {
      process.removeAllListeners(kind);
      for (const listener of others[index] ?? []) process.on(kind, listener);
    }
  }
  return strays;
}

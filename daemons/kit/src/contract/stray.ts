/** Errors that reach the process while something runs: what a connector must never let out. */
import { setImmediate as turn } from "node:timers/promises";

const KINDS = ["uncaughtException", "unhandledRejection"] as const;

/** @returns what nobody caught until `act` had ended and the event loop had turned; other listeners do not hear of it */
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

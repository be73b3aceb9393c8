/** What no code of the process caught: given to the identity whose code threw it, or logged with its origin. */
import type { Logger } from "pino";
import { asError, claimStrayError } from "./identity/barrier.ts";

const catchers = new Set<Logger>();

/**
 * Catches what no code caught, in the whole process, until it is disposed. An error of an identity ends that
 * identity's connection and nothing else. Of the others a rejection is logged; an exception has left the process
 * in an unknown state, so it is logged and ends the process, unless other code of the process listens for it, too.
 */
export function catchStrayErrors(log: Logger): Disposable {
  if (catchers.size === 0) {
    process.on("uncaughtException", onException);
    process.on("unhandledRejection", onRejection);
  }
  catchers.add(log);
  return {
    [Symbol.dispose]: () => {
      catchers.delete(log);
      if (catchers.size > 0) return;
      process.off("uncaughtException", onException);
      process.off("unhandledRejection", onRejection);
    },
  };
}

function onRejection(reason: unknown): void {
  if (!claimStrayError(reason)) tell("process.rejection_unhandled", reason);
}

function onException(error: unknown): void {
  if (claimStrayError(error)) return;
  tell("process.exception_uncaught", error);
  if (process.listenerCount("uncaughtException") === 1) process.exit(1);
}

function tell(event: string, error: unknown): void {
  const [log] = catchers;
  log?.fatal({ event, err: asError(error) });
}

/**
 * Handles errors that nobody caught: rejected promises and exceptions in callbacks.
 *
 * A rejection ends nothing: the code that ignored it has continued already. An exception leaves a callback
 * half done. When the exception belongs to a part that can be restarted alone, that part is restarted.
 * Otherwise the state is unknown, and the process stops cleanly with a failure exit code, so that it is
 * started again.
 */
import type { Logger } from "pino";
import { framesOf } from "./describe-error.ts";

export type FaultKind = "rejection" | "exception";

export interface FaultOptions {
  readonly log: Logger;
  /** Asks for a clean stop with a failure. */
  readonly fail: (reason: string) => void;
  /**
   * Gives a fault of either kind to the identity whose code caused it; its connection then ends. See
   * `claimStrayError`.
   *
   * @returns whether there is such an identity
   */
  readonly claim?: (error: unknown) => boolean;
  /**
   * Restarts the part that an exception belongs to. Called in the asynchronous context of the exception.
   *
   * @returns whether there is such a part
   */
  readonly contain?: (error: unknown) => boolean;
  /** Names the part, in the asynchronous context of the fault. Default: none. */
  readonly partOf?: () => string | undefined;
  /** Called for every fault, also for those that are not logged. */
  readonly onFault?: (kind: FaultKind, part: string | undefined) => void;
  /** Emits the faults. Default: this process. */
  readonly source?: Pick<NodeJS.EventEmitter, "on" | "off">;
}

const LOG_AGAIN_AFTER_MS = 60_000;
const KEPT_PLACES = 100;
const LONGEST_PLACE = 300;

/** From now on until disposed, faults are logged, counted and contained. */
export function watchFaults(options: FaultOptions): Disposable {
  const { log, fail, claim, contain, partOf, onFault, source = process } = options;
  const places = new Places();

  const report = (kind: FaultKind, error: unknown, contained: boolean): void => {
    const part = partOf?.();
    onFault?.(kind, part);
    const seen = places.seen(`${kind} ${part ?? ""} ${placeOf(error)}`);
    if (seen === undefined) return;
    const fields = {
      event: kind === "rejection" ? "process.unhandled_rejection" : "process.uncaught_exception",
      ...(part !== undefined && { part }),
      ...(seen > 1 && { times: seen }),
      err: error,
    };
    if (kind === "rejection" || contained) log.error(fields);
    else log.fatal(fields);
  };
  const onRejection = (error: unknown) => {
    claim?.(error);
    report("rejection", error, true);
  };
  const onException = (error: unknown) => {
    const contained = claim?.(error) === true || contain?.(error) === true;
    report("exception", error, contained);
    if (!contained) fail("uncaught exception");
  };
  source.on("unhandledRejection", onRejection);
  source.on("uncaughtException", onException);
  return {
    [Symbol.dispose]: () => {
      source.off("unhandledRejection", onRejection);
      source.off("uncaughtException", onException);
    },
  };
}

function placeOf(error: unknown): string {
  const place = error instanceof Error ? `${error.name} ${framesOf(error)[0] ?? ""}` : typeof error;
  return place.slice(0, LONGEST_PLACE);
}

/** A repeated fault must not fill the disk: one line a minute for each place. */
class Places {
  readonly #last = new Map<string, { at: number; times: number }>();

  /** @returns the number of faults since the last line, or undefined when no line is due */
  seen(place: string): number | undefined {
    const now = performance.now();
    const key = this.#last.has(place) || this.#last.size < KEPT_PLACES ? place : "others";
    const last = this.#last.get(key);
    if (last !== undefined && now - last.at < LOG_AGAIN_AFTER_MS) {
      last.times += 1;
      return undefined;
    }
    this.#last.set(key, { at: now, times: 0 });
    return (last?.times ?? 0) + 1;
  }
}

/**
 * What reaches the process because nobody handled it: a rejected promise, an exception in a callback.
 *
 * A rejection ends nothing: the code that dropped it has gone on already. After an exception a callback stopped
 * half way. When the exception belongs to a part that can be started again alone, that part is; else nobody
 * knows what is left in which state, and the process stops cleanly and with a failure, to be started again.
 */
import type { Logger } from "pino";
import { framesOf } from "./describe-error.ts";

export type FaultKind = "rejection" | "exception";

export interface FaultOptions {
  readonly log: Logger;
  /** Asks for a clean stop with a failure. */
  readonly fail: (reason: string) => void;
  /**
   * Gives a fault of either kind to the identity whose code it was, whose connection then ends; see `claimStrayError`.
   *
   * @returns whether there is such an identity
   */
  readonly claim?: (error: unknown) => boolean;
  /**
   * Starts the part again that an exception belongs to. Called in the asynchronous context of the exception.
   *
   * @returns whether there is such a part
   */
  readonly contain?: (error: unknown) => boolean;
  /** Names the part, in the asynchronous context of the fault. Default: none. */
  readonly partOf?: () => string | undefined;
  /** Told of every one, also of those that are not logged. */
  readonly onFault?: (kind: FaultKind, part: string | undefined) => void;
  /** Emits the faults. Default: this process. */
  readonly source?: Pick<NodeJS.EventEmitter, "on" | "off">;
}

const LOG_AGAIN_AFTER_MS = 60_000;
const KEPT_PLACES = 100;
const LONGEST_PLACE = 300;

/** From now until disposed, faults are logged, counted and contained. */
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

/** A fault that repeats must not fill the disk: one line a minute of each place. */
class Places {
  readonly #last = new Map<string, { at: number; times: number }>();

  /** @returns how many there were since the last line, or undefined when none is due */
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

/**
 * When a process is asked to end, and how long it may take.
 *
 *     running ──signal──▶ stopping ──1 s──▶ message ──signal──▶ forced end
 *                            └────────────30 s──────────────▶ forced end
 *
 * One request often arrives as several signals: a terminal sends Ctrl-C to every process of its group, and
 * npm passes on its own copy. So all signals are one request until a message has announced that the next one
 * forces the end. The handlers stay until the process has ended: a late copy must not end it half way.
 */
import { constants } from "node:os";

export const STOP_SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
export type StopSignal = (typeof STOP_SIGNALS)[number];

export interface StopRequest {
  /** Aborted at the first signal, or at a fault; the reason is a text. */
  readonly signal: AbortSignal;
  /** A fault asked for the stop, so the exit code must not be 0. */
  readonly failed: boolean;
  /** Asks for a stop because of a fault of the process itself. */
  readonly fail: (reason: string) => void;
}

export interface StopOptions {
  /** Emits the signals. Default: this process. */
  readonly source?: Pick<NodeJS.EventEmitter, "on">;
  /** Prints a line, without its line end, to the person at the terminal. Default: standard error. */
  readonly tell?: (line: string) => void;
  /** Ends the process at once. Default: `process.exit`. */
  readonly end?: (code: number) => void;
  /** Milliseconds after which a message says that a further signal forces the end. Default 1,000. */
  readonly warnAfterMs?: number;
  /** Milliseconds that a clean stop may take. Default 30,000. */
  readonly limitMs?: number;
}

/** Call once per process; from then on signals are requests. */
export function stopOnSignals(options: StopOptions = {}): StopRequest {
  const { source = process, warnAfterMs = 1_000, limitMs = 30_000 } = options;
  const tell = options.tell ?? tellStandardError();
  const end = options.end ?? ((code) => process.exit(code));
  const controller = new AbortController();
  let failed = false;
  let told = false;

  const stop = (reason: string) => {
    if (controller.signal.aborted) return;
    setTimeout(() => {
      told = true;
      tell("still stopping; a further Ctrl-C, SIGTERM or SIGHUP ends it at once");
    }, warnAfterMs).unref();
    setTimeout(() => {
      tell(`the stop took longer than ${Math.round(limitMs / 1_000)} s; ended at once`);
      end(1);
    }, limitMs).unref();
    controller.abort(reason);
  };
  for (const name of STOP_SIGNALS) {
    source.on(name, () => {
      if (!told) return stop(name);
      tell("ended at once");
      end(128 + constants.signals[name]);
    });
  }
  return {
    signal: controller.signal,
    get failed() {
      return failed;
    },
    fail: (reason) => {
      failed = true;
      stop(reason);
    },
  };
}

/** A closed terminal refuses every write, and that must not end the process before its clean stop. */
function tellStandardError(): (line: string) => void {
  process.stderr.on("error", () => undefined);
  return (line) => void process.stderr.write(`linkspan: ${line}\n`);
}

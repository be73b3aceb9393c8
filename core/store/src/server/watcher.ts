/**
 * Stops what this process started when this process ends, whatever ended it: SIGKILL, out of memory, a crash.
 *
 * A small shell process of its own session holds the reading end of a pipe. Each line that it reads names a
 * process to stop or a path to remove; the end of the pipe means that this process has ended, because the
 * kernel closes the writing end with it. The shell ignores the signals of terminals and process groups, and ends
 * when its work is done. If the shell itself is killed, another one is started and told everything again.
 *
 * A watched program starts only after the watcher was told its number (see {@link gated}), so no moment is left
 * in which a killed parent leaves an unknown child behind.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { Socket } from "node:net";
import type { ServerLog } from "./log.ts";
import { serverEnvironment } from "./environment.ts";

/** A signal and the whole seconds that the process gets to end after it. */
export type StopStep = readonly [signal: NodeJS.Signals, seconds: number];

export interface WatchOptions {
  /** Sent one after the other until the process has ended. */
  readonly steps: readonly StopStep[];
  /** It leads a group of its own: all of it must end, and SIGKILL is for all of it; it itself tells others the rest. */
  readonly group?: boolean;
}

const SHELL = "/bin/sh";
const AGAIN_AFTER_MS = 1_000;

/**
 * `started` prints what tells a process from a later one with the same number: after this process has ended,
 * numbers may be given anew. Field 22 of Linux's stat file is the time of the start; the state `Z` has ended.
 */
const SCRIPT = `
trap '' HUP INT QUIT TERM PIPE
watched= paths=
started() {
  if [ -d /proc/self ]; then
    IFS= read -r stat < "/proc/$1/stat" || return 1
    set -- \${stat##*) }
    [ "$1" != Z ] && echo "\${20}"
  else
    ps -o lstart= -p "$1"
  fi
}
leads() { now=$(started "$pid") && [ "$now" = "$start" ]; }
runs() { leads || case $target in -*) kill -s 0 -- "$target" ;; *) false ;; esac; }
stop() {
  pid=$1 target=$2; shift 2
  eval "start=\\$start_$pid"
  for step in "$@"; do
    runs || break
    case $step in
      KILL:*) kill -s KILL -- "$target" ;;
      *) leads && kill -s "\${step%%:*}" "$pid" ;;
    esac
    left=$((\${step#*:} * 20))
    while [ "$left" -gt 0 ] && runs; do sleep 0.05; left=$((left - 1)); done
  done
}
without() { for one in $1; do [ "$one" = "$2" ] || printf '%s ' "$one"; done; }
while IFS= read -r line; do
  verb=\${line%% *} rest=\${line#* } key=\${rest%% *}
  case $verb in
    watch) watched="$watched $key"; eval "steps_$key=\\\${rest#* }; start_$key=\\$(started $key)" ;;
    forget) watched=$(without "$watched" "$key") ;;
    remove) paths="$paths $key"; eval "path_$key=\\\${rest#* }" ;;
    keep) paths=$(without "$paths" "$key") ;;
  esac
done
for one in $watched; do eval "stop $one \\$steps_$one" & done
wait
for one in $paths; do eval "rm -rf -- \\"\\$path_$one\\""; done
`;

export class Watcher implements AsyncDisposable {
  readonly #log: ServerLog;
  /** Lines that it was sent and that still apply, by a key. */
  readonly #told = new Map<string, string>();
  #child: ChildProcess | undefined;
  #paths = 0;
  #closing = false;

  constructor(log: ServerLog) {
    this.#log = log;
    this.#start();
  }

  /** Of the shell, while it runs. */
  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** @returns to be disposed when the process has ended, at once */
  watch(pid: number, { steps, group = false }: WatchOptions): Disposable {
    const schedule = steps.map(([signal, seconds]) => `${signal.replace(/^SIG/, "")}:${seconds}`).join(" ");
    return this.#tell(
      `process ${pid}`,
      `watch ${pid} ${group ? "-" : ""}${pid} ${schedule}`,
      `forget ${pid}`,
    );
  }

  /**
   * Removes a file or directory at the end, after every watched process has ended.
   *
   * @param path absolute
   * @returns to be disposed when it was removed or is to stay
   */
  remove(path: string): Disposable {
    // It would be two lines; such a path is left to the next start.
    if (path.includes("\n")) return { [Symbol.dispose]: () => undefined };
    const key = (this.#paths += 1);
    return this.#tell(`path ${key}`, `remove ${key} ${path}`, `keep ${key}`);
  }

  /** Stops and removes what is still named. Resolves when the shell has ended. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing = true;
    const child = this.#child;
    if (child === undefined) return;
    child.ref();
    child.stdin?.end();
    await once(child, "close");
  }

  #tell(key: string, line: string, undo: string): Disposable {
    this.#told.set(key, line);
    this.#child?.stdin?.write(`${line}\n`);
    return {
      [Symbol.dispose]: () => {
        if (!this.#told.delete(key)) return;
        this.#child?.stdin?.write(`${undo}\n`);
      },
    };
  }

  #start(): void {
    if (this.#closing) return;
    const child = spawn(SHELL, ["-c", SCRIPT, "linkspan-watcher"], {
      cwd: "/",
      env: serverEnvironment(),
      stdio: ["pipe", "ignore", "ignore"],
      detached: true,
    });
    child.once("error", (error) => this.#ended(child, error.message));
    child.once("exit", (code, signal) => this.#ended(child, String(signal ?? code)));
    child.stdin.on("error", () => undefined); // its end is reported by `exit`
    child.unref();
    if (child.stdin instanceof Socket) child.stdin.unref();
    this.#child = child;
    for (const line of this.#told.values()) child.stdin.write(`${line}\n`);
  }

  #ended(child: ChildProcess, reason: string): void {
    if (this.#child !== child) return;
    this.#child = undefined;
    if (this.#closing) return;
    this.#log.warn({ event: "store.server.watcher_ended", reason });
    setTimeout(() => this.#start(), AGAIN_AFTER_MS).unref();
  }
}

/**
 * A command line that waits for a line on standard input, then becomes the program, in the same process. When
 * the input ends before, it ends without having started anything.
 */
export function gated(program: string, args: readonly string[]): [string, ...string[]] {
  return [SHELL, "-c", 'read -r go && exec "$@"', "linkspan-gate", program, ...args];
}

/** The line that opens the gate. */
export const GO = "go\n";

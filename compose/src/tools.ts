/** What the grammar passes to a command: its output, its configuration, the API, and when to stop. */
import { type StopRequest, stopOnSignals } from "@linkspan/daemon-kit/stop";
import type { Client } from "./client.ts";
import type { Config } from "./config.ts";
import { type Output, outputTo } from "./output.ts";

export type Env = Readonly<Record<string, string | undefined>>;

/** Options that every command takes. */
export interface CommonOptions {
  readonly json: boolean;
  readonly workspace?: string;
}

export interface Tools {
  /** @param audience `nobody`: it does not matter whether standard output is read */
  readonly out: (audience?: "reader" | "nobody") => Output;
  /** @throws ConfigError */
  readonly config: (overrides?: Env) => Promise<Config>;
  /** @throws ConfigError, FabricError `request.unauthorized` */
  readonly client: () => Promise<Client>;
  /** From now on signals request a stop instead of ending the process. */
  readonly stopRequest: () => StopRequest;
  /** The command ran, and its result is negative. */
  readonly fail: () => void;
  readonly exitCode: () => number;
}

export function toolsFor(env: Env, options: () => CommonOptions): Tools {
  let exitCode = 0;
  const config: Tools["config"] = async (overrides = {}) => {
    const { readConfig } = await import("./config.ts");
    const { workspace } = options();
    return readConfig({
      ...env,
      ...(workspace !== undefined && { LINKSPAN_WORKSPACE: workspace }),
      ...overrides,
    });
  };
  return {
    out: (audience = "reader") => {
      process.stdout.on("error", audience === "reader" ? quitWhenNobodyReads : () => undefined);
      return outputTo(process.stdout, process.stderr, options().json);
    },
    config,
    client: async () => {
      const { connect } = await import("./client.ts");
      return connect(await config());
    },
    stopRequest: stopOnSignals,
    fail: () => {
      exitCode = 1;
    },
    exitCode: () => exitCode,
  };
}

/**
 * `linkspan events --follow | head -1` ends silently when `head` does; the same when the terminal is closed.
 */
function quitWhenNobodyReads(error: NodeJS.ErrnoException): void {
  if (error.code !== "EPIPE" && error.code !== "EIO") throw error;
  process.exit();
}

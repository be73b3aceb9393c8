/** The daemon in Python as a process: started, read by its log, stopped or killed. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Client } from "@linkspan/compose";
import { boundToParent } from "../../servers/account.ts";
import { executable } from "../../servers/available.ts";
import { until } from "../../servers/until.ts";

export interface PeerPlace {
  readonly client: Client;
  readonly amqpUrl: string;
  /** Directory of the platform; two processes with one directory are on one platform. */
  readonly platform: string;
  /** File that keeps the keys, and the token to get them with while it does not exist. */
  readonly keys: string;
  readonly tokenFile: string;
}

/** A line of its log. */
export interface Logged extends Readonly<Record<string, unknown>> {
  readonly event: string;
}

/** A place for peers of one identity of the platform, with a token that is good once. */
export async function peerPlace(
  client: Client,
  amqpUrl: string,
  data: string,
): Promise<PeerPlace & { readonly platform: string }> {
  const platform = mkdtempSync(join(data, "peer-"));
  const { token } = await client.send<{ token: string }>("POST", "/v1/enrolment-tokens", { service: "echo" });
  const tokenFile = join(platform, "enrol.token");
  writeFileSync(tokenFile, token, { mode: 0o600 });
  return { client, amqpUrl, platform, keys: join(platform, "keys.json"), tokenFile };
}

export class PythonPeer implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #lines: Logged[] = [];
  #text = "";

  private constructor(child: ChildProcess) {
    this.#child = child;
    child.stderr?.on("data", (chunk: Buffer) => this.#read(chunk.toString()));
  }

  static start({ client, amqpUrl, platform, keys, tokenFile }: PeerPlace, more: readonly string[] = []) {
    const options = { core: client.url, amqp: amqpUrl, platform, keys, "token-file": tokenFile };
    const given = Object.entries(options).flatMap(([name, value]) => [`--${name}`, value]);
    const python = executable("python");
    const [file, ...args] = boundToParent([python, "-m", "linkspan_peer", ...given, ...more]);
    return new PythonPeer(
      spawn(file, args, { cwd: import.meta.dirname, stdio: ["ignore", "ignore", "pipe"] }),
    );
  }

  get log(): readonly Logged[] {
    return this.#lines;
  }

  /** What it printed that is no line of its log, such as a traceback. */
  get trouble(): string {
    return this.#text;
  }

  logged(event: string): Logged[] {
    return this.#lines.filter((line) => line.event === event);
  }

  /** The first line of this event, once it is there. */
  async tells(event: string, timeoutMs = 60_000): Promise<Logged> {
    return until(
      () => {
        const [line] = this.logged(event);
        if (line === undefined && this.#hasEnded()) throw new Error(`the peer has ended: ${this.#summary()}`);
        return line;
      },
      { what: `the peer to log ${event}`, timeoutMs },
    );
  }

  /** Resolves when it has ended by itself. @returns its exit code */
  async ended(): Promise<number | null> {
    await until(() => this.#hasEnded(), { what: "the peer to end" });
    return this.#child.exitCode;
  }

  /** @returns its exit code */
  stop(): Promise<number | null> {
    return this.#end("SIGTERM");
  }

  async kill(): Promise<void> {
    await this.#end("SIGKILL");
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }

  async #end(signal: NodeJS.Signals): Promise<number | null> {
    if (this.#hasEnded()) return this.#child.exitCode;
    const ended = once(this.#child, "exit");
    this.#child.kill(signal);
    await ended;
    return this.#child.exitCode;
  }

  #hasEnded(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null;
  }

  #read(chunk: string): void {
    const lines = (this.#text + chunk).split("\n");
    this.#text = lines.pop() ?? "";
    const trouble = lines.filter((line) => !line.startsWith("{"));
    for (const line of lines.filter((one) => one.startsWith("{"))) {
      this.#lines.push(JSON.parse(line) as Logged);
    }
    if (trouble.length > 0) this.#text = `${trouble.join("\n")}\n${this.#text}`;
  }

  #summary(): string {
    return `${this.#lines
      .slice(-10)
      .map((line) => JSON.stringify(line))
      .join("\n")}\n${this.#text}`;
  }
}

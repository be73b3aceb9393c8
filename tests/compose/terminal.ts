/** `npm start` on a terminal, as people run it: a pseudo-terminal by util-linux's `script`, through the machine's npm. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { Family, type Member } from "../servers/family.ts";
import { reservePort } from "../servers/port.ts";
import { signal } from "../servers/process-tree.ts";
import { until } from "../servers/until.ts";
import { ROOT } from "./linkspan.ts";

const GONE_WITHIN_MS = 15_000;

/** A data directory, a directory for temporary files and a port, over several runs. */
export class Machine implements AsyncDisposable {
  readonly home: string = mkdtempSync(join(tmpdir(), "linkspan-machine-"));
  readonly data: string = join(this.home, "data");
  readonly temporary: string = mkdtempSync(join(this.home, "tmp-"));
  readonly #port: Awaited<ReturnType<typeof reservePort>>;

  private constructor(port: Awaited<ReturnType<typeof reservePort>>) {
    this.#port = port;
  }

  static async create(): Promise<Machine> {
    return new Machine(await reservePort());
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port.number}`;
  }

  environment(mark: string): NodeJS.ProcessEnv {
    const path = (process.env["PATH"] ?? "")
      .split(delimiter)
      .filter((entry) => !entry.includes("node_modules"));
    return {
      PATH: [mark, ...path].join(delimiter),
      HOME: this.home,
      TERM: "dumb",
      TMPDIR: this.temporary,
      LINKSPAN_DATA: this.data,
      LINKSPAN_PORT: String(this.#port.number),
      npm_config_cache: join(this.home, "npm"),
      npm_config_update_notifier: "false",
    };
  }

  /** Files that only a running one needs: sockets, locks of a server, drafts, anything temporary. */
  leftFiles(): string[] {
    const places = [this.data, ...this.#homesElsewhere()].filter((place) => existsSync(place));
    const names = places.flatMap((place) => readdirSync(place, { recursive: true, encoding: "utf8" }));
    const passing = names.filter((name) => /claim\.|\.s\.PGSQL|\.pid$|\.new(-|$)/.test(name));
    return [...passing, ...readdirSync(this.temporary)];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const home of this.#homesElsewhere()) rmSync(home, { recursive: true, force: true });
    rmSync(this.home, { recursive: true, force: true });
    this.#port.release();
    await Promise.resolve();
  }

  /** Where root's database went, because its account may not enter a temporary directory of root's. */
  #homesElsewhere(): string[] {
    const homes = "/var/lib/linkspan";
    if (!existsSync(homes)) return [];
    const ours = (name: string) => {
      const record = join(homes, name, "of.json");
      return existsSync(record) && readFileSync(record, "utf8").includes(this.home);
    };
    return readdirSync(homes)
      .filter(ours)
      .map((name) => join(homes, name));
  }
}

export class Terminal implements AsyncDisposable {
  readonly family = new Family();
  readonly #machine: Machine;
  readonly #child: ChildProcess;
  readonly #ended: Promise<unknown>;
  #text = "";

  /** @param environment beside the machine's */
  constructor(machine: Machine, command = "npm start", environment: NodeJS.ProcessEnv = {}) {
    this.#machine = machine;
    this.#child = spawn("script", ["-q", "-e", "-c", `exec ${command}`, "/dev/null"], {
      cwd: ROOT,
      env: { ...machine.environment(this.family.mark), ...environment },
      stdio: ["pipe", "pipe", "pipe"],
    });
    this.#child.stdin?.on("error", () => undefined);
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.on("data", (chunk: Buffer) => {
        this.#text += chunk.toString();
      });
    }
    this.#ended = once(this.#child, "close");
  }

  /** What it shows. */
  get text(): string {
    return this.#text;
  }

  async shows(text: string): Promise<void> {
    await until(
      () => {
        if (this.#text.includes(text)) return true;
        if (this.#child.exitCode !== null) throw new Error(`it ended without ${text}:\n${this.#text}`);
        return false;
      },
      { what: `${text} on the terminal`, timeoutMs: 60_000, everyMs: 5 },
    );
  }

  press(key: "Ctrl-C"): void {
    if (key === "Ctrl-C") this.#child.stdin?.write("\x03");
  }

  /** The window is closed. */
  close(): void {
    this.#child.kill("SIGKILL");
  }

  /** The one whose command line holds the text. Not the terminal itself, nor its copy that is about to run the command. */
  member(text: string): Member | undefined {
    const isMeant = ({ command }: Member) => command.includes(text) && !command.startsWith("script ");
    return this.family.living().find(isMeant);
  }

  /** Waits for the process: at its start it has another command line for a moment. */
  async running(text: string): Promise<Member> {
    return until(() => this.member(text), { what: `${text} to run`, everyMs: 5 });
  }

  /** To the process, as soon as it runs; nothing when the command ends before. */
  async signal(text: string, name: NodeJS.Signals): Promise<void> {
    const member = await this.#runningOrEnded(text);
    if (member !== undefined) signal(member.pid, name);
  }

  /** To the process group of the process, as soon as that runs; nothing when the command ends before. */
  async signalGroup(text: string, name: NodeJS.Signals): Promise<void> {
    const member = await this.#runningOrEnded(text);
    if (member !== undefined) signal(-member.group, name);
  }

  /** One look decides: npm changes its name while it runs and is not found for a moment. */
  async #runningOrEnded(text: string): Promise<Member | undefined> {
    const isEnded = () => this.#child.exitCode !== null || this.#child.signalCode !== null;
    const found = await until(() => this.member(text) ?? (isEnded() ? "ended" : undefined), {
      what: `${text} to run`,
      everyMs: 5,
    });
    return found === "ended" ? undefined : found;
  }

  /** Resolves when the terminal is free again. @returns the command's exit code, 128 and the signal's number for one */
  async ended(): Promise<number | null> {
    await this.#ended;
    return this.#child.exitCode;
  }

  /** What the machine has more than before, when nothing of it goes any more. */
  async left(): Promise<string[]> {
    const now = () => {
      const processes = this.family.living().map(({ pid, command }) => `process ${pid} ${command}`);
      // While one still goes it may be removing the files.
      return processes.length > 0 ? processes : [...this.family.held(), ...this.#machine.leftFiles()];
    };
    const deadline = performance.now() + GONE_WITHIN_MS;
    await until(() => now().length === 0 || performance.now() > deadline, { what: "the end" });
    return now();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill("SIGKILL");
    for (const { pid } of this.family.living()) signal(pid, "SIGKILL");
    await this.#ended;
    this.family[Symbol.dispose]();
  }
}

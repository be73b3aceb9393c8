/**
 * Every process that stems from one: its descendants, also those that left its process group, its session or, when
 * their parent ended, its tree. They are known by a mark in their PATH, which children inherit, and by being
 * seen as the child of one that is known.
 */
import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface Member {
  readonly pid: number;
  readonly parent: number;
  /** Process group. */
  readonly group: number;
  /** In clock ticks since the machine's start; tells it from a later one of the same number. */
  readonly started: string;
  readonly command: string;
}

const LOOK_EVERY_MS = 10;

export class Family implements Disposable {
  /** An empty directory, to stand first in the PATH of who begins it. */
  readonly mark: string = mkdtempSync(join(tmpdir(), "linkspan-family-"));
  readonly #known = new Map<string, Member>();
  readonly #memory = new Set<string>();
  readonly #sockets = new Set<string>();
  /** Of others: the number of a creator who has ended may be given to a member. */
  readonly #before = new Set(segments().map(({ id }) => id));
  readonly #timer: NodeJS.Timeout;

  constructor() {
    this.#timer = setInterval(() => this.#look(), LOOK_EVERY_MS);
  }

  /** One that does not bear the mark, with its descendants. */
  adopt(pid: number): void {
    const member = memberOf(pid);
    if (member !== undefined) this.#known.set(`${pid} ${member.started}`, member);
    this.#look();
  }

  /** Those that have not ended. */
  living(): Member[] {
    this.#look();
    return [...this.#known.values()].flatMap(({ pid, started }) => {
      const member = memberOf(pid);
      return member?.started === started ? [member] : [];
    });
  }

  /** All that were ever seen. */
  get size(): number {
    return this.#known.size;
  }

  /** Of what its members once had open, what the machine still has: shared memory and sockets. */
  held(): string[] {
    const shared = readdirSync("/dev/shm").filter((name) => this.#memory.has(name));
    const pids = new Set([...this.#known.values()].map(({ pid }) => pid));
    const ours = segments().filter(({ id, creator }) => pids.has(creator) && !this.#before.has(id));
    const open = openSockets();
    return [
      ...shared,
      ...ours.map(({ id }) => `segment ${id}`),
      ...[...this.#sockets].filter((inode) => open.has(inode)),
    ];
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    rmSync(this.mark, { recursive: true, force: true });
  }

  #look(): void {
    const members = readdirSync("/proc").flatMap((name) =>
      /^\d+$/.test(name) ? (memberOf(Number(name)) ?? []) : [],
    );
    const pids = new Set([...this.#known.values()].map(({ pid }) => pid));
    for (let found = true; found; ) {
      found = false;
      for (const member of members) {
        const key = `${member.pid} ${member.started}`;
        if (this.#known.has(key) || !(pids.has(member.parent) || this.#isMarked(member.pid))) continue;
        this.#known.set(key, member);
        pids.add(member.pid);
        found = true;
      }
    }
    for (const { pid, started } of members) if (this.#known.has(`${pid} ${started}`)) this.#note(pid);
  }

  #isMarked(pid: number): boolean {
    return textOf(`/proc/${pid}/environ`).includes(this.mark);
  }

  #note(pid: number): void {
    for (const [, name] of textOf(`/proc/${pid}/maps`).matchAll(/ \/dev\/shm\/(\S+)/g)) {
      if (name !== undefined) this.#memory.add(name);
    }
    // What it inherited, as standard error, is this process's and stays.
    const inherited = new Set(socketsOf(process.pid));
    for (const inode of socketsOf(pid)) if (!inherited.has(inode)) this.#sockets.add(inode);
  }
}

/** Inodes. */
function socketsOf(pid: number): string[] {
  const targets = namesIn(`/proc/${pid}/fd`).map((name) => targetOf(`/proc/${pid}/fd/${name}`));
  return targets.flatMap((target) => /^socket:\[(\d+)\]$/.exec(target)?.[1] ?? []);
}

/** @returns undefined when it has ended, even if nobody has collected it */
function memberOf(pid: number): Member | undefined {
  const stat = textOf(`/proc/${pid}/stat`);
  const end = stat.lastIndexOf(")");
  const fields = stat.slice(end + 2).split(" ");
  const [state = "Z", parent, group] = fields;
  if (stat === "" || state === "Z" || state === "X") return undefined;
  const command = textOf(`/proc/${pid}/cmdline`).replaceAll("\0", " ").trim();
  return {
    pid,
    parent: Number(parent),
    group: Number(group),
    started: fields[19] ?? "",
    command: command || stat.slice(stat.indexOf("("), end + 1),
  };
}

interface Segment {
  readonly id: string;
  readonly creator: number;
}

/** System V shared memory of the machine. */
function segments(): Segment[] {
  const rows = textOf("/proc/sysvipc/shm").trim().split("\n").slice(1);
  const fields = rows.map((row) => row.trim().split(/\s+/));
  return fields.map(([, id = "", , , creator]) => ({ id, creator: Number(creator) }));
}

/** Inodes of the sockets that some process, or a queue, still has. */
function openSockets(): Set<string> {
  const inodes = new Set<string>();
  for (const line of textOf("/proc/net/unix").split("\n")) inodes.add(line.trim().split(/\s+/)[6] ?? "");
  for (const table of ["tcp", "tcp6", "udp", "udp6"]) {
    for (const line of textOf(`/proc/net/${table}`).split("\n"))
      inodes.add(line.trim().split(/\s+/)[9] ?? "");
  }
  return inodes;
}

/** Processes end while they are read: what is gone is empty. */
function textOf(path: string): string {
  try {
    return readFileSync(path, "latin1");
  } catch {
    return "";
  }
}

function namesIn(path: string): string[] {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}

function targetOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return "";
  }
}

/**
 * Networks limit how many connections, and how many attempts, come from one address; an address that ignores that
 * is banned, and all identities with it. So connections to one host are made a few at a time, first come first
 * served, and no more are kept than the operator says.
 *
 * A host is counted once, however it is spelled and whatever the port: the network counts addresses. Workspaces take
 * turns: a free place goes to the one that has the fewest, so that a workspace that fills the queue delays only itself.
 */
export interface HostLimits {
  /** Connections kept to one host. */
  readonly connections: number;
  /** Connections that are being made. */
  readonly attempts: number;
}

/** A place at a host. */
export interface Place {
  /** The attempt is over, one way or the other; the next may begin. */
  settled(): void;
  /** The connection is gone. */
  leave(): void;
}

interface Waiting {
  readonly workspaceId: string;
  readonly admit: () => void;
  readonly position: (ahead: number) => void;
}

/** Connections and attempts of one workspace at a host. */
interface Share {
  attempts: number;
  connections: number;
}

interface Host extends Share {
  readonly waiting: Waiting[];
  /** By workspace. */
  readonly shares: Map<string, Share>;
}

/** The one spelling of a host's name. */
export function hostKey(host: string): string {
  return host.toLowerCase().replace(/\.+$/, "");
}

export class Hosts {
  readonly #limits: HostLimits;
  readonly #hosts = new Map<string, Host>();

  constructor(limits: HostLimits) {
    this.#limits = limits;
  }

  /**
   * Resolves when it is the caller's turn to connect.
   *
   * @param position told at once, and whenever it changes, how many wait before
   * @throws the signal's reason
   */
  async enter(
    { host, workspaceId }: { readonly host: string; readonly workspaceId: string },
    signal: AbortSignal,
    position: (ahead: number) => void,
  ): Promise<Place> {
    signal.throwIfAborted();
    const key = hostKey(host);
    const state = this.#hosts.get(key) ?? { attempts: 0, connections: 0, waiting: [], shares: new Map() };
    this.#hosts.set(key, state);
    if (state.waiting.length > 0 || !this.#hasRoom(state)) {
      await this.#wait(state, workspaceId, signal, position);
    } else {
      count(state, workspaceId, { attempts: 1, connections: 1 });
    }
    return this.#place(key, state, workspaceId);
  }

  #hasRoom({ attempts, connections }: Host): boolean {
    return attempts < this.#limits.attempts && connections < this.#limits.connections;
  }

  async #wait(
    state: Host,
    workspaceId: string,
    signal: AbortSignal,
    position: (ahead: number) => void,
  ): Promise<void> {
    const turn = Promise.withResolvers<void>();
    const waiting: Waiting = { workspaceId, admit: () => turn.resolve(), position };
    const abort = () => {
      const at = state.waiting.indexOf(waiting);
      if (at !== -1) state.waiting.splice(at, 1);
      this.#announce(state);
      turn.reject(signal.reason as Error);
    };
    state.waiting.push(waiting);
    position(state.waiting.length - 1);
    signal.addEventListener("abort", abort, { once: true });
    try {
      await turn.promise;
    } finally {
      signal.removeEventListener("abort", abort);
    }
  }

  #place(key: string, state: Host, workspaceId: string): Place {
    let [attempting, connected] = [true, true];
    const settled = () => {
      if (!attempting) return;
      attempting = false;
      count(state, workspaceId, { attempts: -1, connections: 0 });
      this.#next(key, state);
    };
    return {
      settled,
      leave: () => {
        if (!connected) return;
        connected = false;
        count(state, workspaceId, { attempts: 0, connections: -1 });
        settled();
        this.#next(key, state);
      },
    };
  }

  #next(key: string, state: Host): void {
    while (state.waiting.length > 0 && this.#hasRoom(state)) {
      const next = nextOf(state);
      state.waiting.splice(state.waiting.indexOf(next), 1);
      count(state, next.workspaceId, { attempts: 1, connections: 1 });
      next.admit();
      this.#announce(state);
    }
    if (state.connections === 0 && state.waiting.length === 0) this.#hosts.delete(key);
  }

  #announce(state: Host): void {
    state.waiting.forEach(({ position }, ahead) => position(ahead));
  }
}

function count(state: Host, workspaceId: string, { attempts, connections }: Share): void {
  const share = state.shares.get(workspaceId) ?? { attempts: 0, connections: 0 };
  for (const counted of [state, share]) {
    counted.attempts += attempts;
    counted.connections += connections;
  }
  if (share.attempts === 0 && share.connections === 0) state.shares.delete(workspaceId);
  else state.shares.set(workspaceId, share);
}

/** The first that waits of the workspace with the fewest attempts and, of those, the fewest connections. */
function nextOf({ waiting, shares }: Host): Waiting {
  const rank = ({ workspaceId }: Waiting) => {
    const { attempts, connections } = shares.get(workspaceId) ?? { attempts: 0, connections: 0 };
    return [attempts, connections] as const;
  };
  return waiting.reduce((best, one) => {
    const [a, b] = [rank(best), rank(one)];
    return b[0] < a[0] || (b[0] === a[0] && b[1] < a[1]) ? one : best;
  });
}

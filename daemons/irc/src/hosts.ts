/**
 * Networks limit how many connections, and how many attempts, come from one address; whoever ignores that is
 * banned, and all identities with it. So connections to one host are made a few at a time, first come first
 * served, and no more are kept than the operator says.
 */
export interface HostLimits {
  /** Connections kept to one host. */
  readonly connections: number;
  /** Connections in the making. */
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
  readonly admit: () => void;
  readonly position: (ahead: number) => void;
}

interface Host {
  attempts: number;
  connections: number;
  readonly waiting: Waiting[];
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
  async enter(host: string, signal: AbortSignal, position: (ahead: number) => void): Promise<Place> {
    signal.throwIfAborted();
    const state = this.#hosts.get(host) ?? { attempts: 0, connections: 0, waiting: [] };
    this.#hosts.set(host, state);
    if (state.waiting.length > 0 || !this.#hasRoom(state)) await this.#wait(state, signal, position);
    else this.#take(state);
    return this.#place(host, state);
  }

  #hasRoom({ attempts, connections }: Host): boolean {
    return attempts < this.#limits.attempts && connections < this.#limits.connections;
  }

  #take(state: Host): void {
    state.attempts += 1;
    state.connections += 1;
  }

  async #wait(state: Host, signal: AbortSignal, position: (ahead: number) => void): Promise<void> {
    const turn = Promise.withResolvers<void>();
    const waiting: Waiting = { admit: () => turn.resolve(), position };
    const abort = () => {
      state.waiting.splice(state.waiting.indexOf(waiting), 1);
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

  #place(host: string, state: Host): Place {
    let [attempting, connected] = [true, true];
    const settled = () => {
      if (!attempting) return;
      attempting = false;
      state.attempts -= 1;
      this.#next(host, state);
    };
    return {
      settled,
      leave: () => {
        if (!connected) return;
        connected = false;
        state.connections -= 1;
        settled();
        this.#next(host, state);
      },
    };
  }

  #next(host: string, state: Host): void {
    while (state.waiting.length > 0 && this.#hasRoom(state)) {
      this.#take(state);
      state.waiting.shift()?.admit();
      this.#announce(state);
    }
    if (state.connections === 0 && state.waiting.length === 0) this.#hosts.delete(host);
  }

  #announce(state: Host): void {
    state.waiting.forEach(({ position }, ahead) => position(ahead));
  }
}

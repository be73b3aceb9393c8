/**
 * A client of PostgreSQL whose every wait has an end.
 *
 * A connection can be dropped without a word (failover of an address, a forgotten NAT entry). The driver
 * would wait for ever. Here a statement without an answer destroys its connection, an idle connection can be
 * asked now and then, and closing does not wait for the other side.
 */
import type { Socket } from "node:net";
import pg from "pg";
import { GOODBYE_MS } from "./limits.ts";

export interface BoundedClientConfig extends pg.ClientConfig {
  /** A statement without an answer for this long destroys the connection. */
  readonly answerMs?: number;
  /** Asks the idle connection this often whether the other side is still there; for those that listen. */
  readonly probeMs?: number;
  /** Told when a connection was destroyed because nobody answered. */
  readonly onSilent?: (client: BoundedClient) => void;
}

const DEFAULT_ANSWER_MS = 12_000;

type Call = (...args: unknown[]) => unknown;

export class BoundedClient extends pg.Client {
  readonly #answerMs: number;
  readonly #onSilent: ((client: BoundedClient) => void) | undefined;
  #waiting = 0;
  #probe: NodeJS.Timeout | undefined;

  constructor(config: BoundedClientConfig = {}) {
    super(config);
    this.#answerMs = config.answerMs ?? DEFAULT_ANSWER_MS;
    this.#onSilent = config.onSilent;
    // Whoever waits for an answer gets the error; a connection that nobody uses must not end the process.
    this.on("error", () => undefined);
    const submit = super.query.bind(this) as Call;
    this.query = ((...args: unknown[]) => this.#bounded(submit, args)) as typeof this.query;
    const end = super.end.bind(this) as Call;
    this.end = ((...args: unknown[]) => this.#ending(end, args)) as typeof this.end;
    const { probeMs } = config;
    if (probeMs !== undefined) this.once("connect", () => this.#startProbing(probeMs));
    this.once("end", () => clearInterval(this.#probe));
  }

  /** Whether a statement waits for its answer. */
  get busy(): boolean {
    return this.#waiting > 0;
  }

  /** Ends the connection at once; statements that wait reject. */
  destroy(reason: string): void {
    clearInterval(this.#probe);
    this.#stream.destroy(new Error(reason));
  }

  get #stream(): Socket {
    return (this as unknown as { readonly connection: { readonly stream: Socket } }).connection.stream;
  }

  #bounded(submit: Call, args: unknown[]): unknown {
    this.#waiting += 1;
    const timer = setTimeout(() => this.#silent(), this.#answerMs);
    const answered = () => {
      clearTimeout(timer);
      this.#waiting -= 1;
    };
    const callback = args.at(-1);
    try {
      if (typeof callback === "function") {
        return submit(...args.slice(0, -1), (...results: unknown[]) => {
          answered();
          (callback as Call)(...results);
        });
      }
      const result = submit(...args);
      if (result instanceof Promise) result.then(answered, answered);
      else answered();
      return result;
    } catch (error) {
      answered();
      throw error;
    }
  }

  #silent(): void {
    this.destroy(`the database did not answer within ${this.#answerMs} ms`);
    this.#onSilent?.(this);
  }

  #startProbing(everyMs: number): void {
    this.#probe = setInterval(() => {
      // A failure destroys the connection, which is how its owner learns of it.
      if (!this.busy) void this.query("SELECT 1").catch(() => undefined);
    }, everyMs);
    this.#probe.unref();
  }

  #ending(end: Call, args: unknown[]): unknown {
    clearInterval(this.#probe);
    const stream = this.#stream;
    if (!stream.destroyed) {
      const timer = setTimeout(() => stream.destroy(), GOODBYE_MS);
      stream.once("close", () => clearTimeout(timer));
    }
    return end(...args);
  }
}

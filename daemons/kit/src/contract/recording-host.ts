/** An {@link IdentityHost} that records what a connector reports, for tests. */
import { setTimeout as delay } from "node:timers/promises";
import pino from "pino";
import { RecordedRows } from "./recorded-rows.ts";
import type { BridgeState, IdentityHost, PlatformEvent, Throttle } from "../connector.ts";

export class RecordingHost implements IdentityHost {
  readonly log = pino({ level: "silent" });
  readonly events: PlatformEvent[] = [];
  readonly states: BridgeState[] = [];
  readonly throttles: Throttle[] = [];
  /** Errors of guarded callbacks. */
  readonly failures: unknown[] = [];
  readonly secrets: IdentityHost["secrets"];
  readonly rows: RecordedRows;
  readonly #aborter = new AbortController();
  /** How many events were refused; undefined: none is. */
  refused: number | undefined;
  #gate: PromiseWithResolvers<void> | undefined;
  #unresolved = 0;
  /** The largest number of `event` calls that were unresolved at the same time. */
  mostUnresolved = 0;

  /** @param rows of an earlier connection of the same identity */
  constructor(secrets: Readonly<Record<string, Uint8Array>> = {}, rows?: RecordedRows["kept"]) {
    this.rows = new RecordedRows(rows);
    this.secrets = { names: Object.keys(secrets), get: (name) => secrets[name]?.slice() };
  }

  get signal(): AbortSignal {
    return this.#aborter.signal;
  }

  guard<A extends readonly unknown[]>(callback: (...args: A) => unknown): (...args: A) => void {
    return (...args) => {
      try {
        Promise.resolve(callback(...args)).catch((error: unknown) => this.failures.push(error));
      } catch (error) {
        this.failures.push(error);
      }
    };
  }

  abort(): void {
    this.#aborter.abort(new Error("the test ended it"));
  }

  /** From now on no `event` resolves, until {@link release}. */
  hold(): void {
    this.#gate ??= Promise.withResolvers();
  }

  release(): void {
    this.#gate?.resolve();
    this.#gate = undefined;
  }

  /** From now on `event` accepts nothing and rejects. */
  refuse(): void {
    this.refused = 0;
  }

  event(event: PlatformEvent): Promise<void> {
    const taken = this.#take(event);
    // As in the kit: a rejection that the connector ignores is not an unhandled rejection.
    taken.catch(() => undefined);
    return taken;
  }

  async #take(event: PlatformEvent): Promise<void> {
    if (this.refused !== undefined) {
      this.refused += 1;
      throw new Error("the event is not taken");
    }
    this.events.push(event);
    this.#unresolved += 1;
    this.mostUnresolved = Math.max(this.mostUnresolved, this.#unresolved);
    await this.#gate?.promise;
    this.#unresolved -= 1;
  }

  state(state: BridgeState): void {
    this.states.push(state);
  }

  throttle(throttle: Throttle): void {
    this.throttles.push(throttle);
  }

  async writeBack(): Promise<void> {}

  /** Texts of messages from others. */
  texts(): string[] {
    return this.events
      .filter(({ payload }) => payload.kind === "message" && !payload.sender.is_self)
      .map(({ payload }) => payload.text ?? "");
  }
}

/**
 * Polls a condition until it is true.
 *
 * @throws Error naming the condition that did not become true within `withinMs`
 */
export async function until(what: string, holds: () => boolean, withinMs = 10_000): Promise<void> {
  const end = performance.now() + withinMs;
  while (!holds()) {
    if (performance.now() > end) throw new Error(`it did not come true within ${withinMs} ms: ${what}`);
    await delay(2);
  }
}

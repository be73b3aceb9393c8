/** An {@link IdentityHost} that keeps what a connector reports, for tests. */
import { setTimeout as delay } from "node:timers/promises";
import pino from "pino";
import type { BridgeState, IdentityHost, PlatformEvent, Throttle } from "../connector.ts";

export class RecordingHost implements IdentityHost {
  readonly log = pino({ level: "silent" });
  readonly events: PlatformEvent[] = [];
  readonly states: BridgeState[] = [];
  readonly throttles: Throttle[] = [];
  readonly secrets: IdentityHost["secrets"];
  readonly #aborter = new AbortController();
  #gate: PromiseWithResolvers<void> | undefined;
  #unresolved = 0;
  /** The most `event` calls that were unresolved at once. */
  mostUnresolved = 0;

  constructor(secrets: Readonly<Record<string, Uint8Array>> = {}) {
    this.secrets = { names: Object.keys(secrets), get: (name) => secrets[name]?.slice() };
  }

  get signal(): AbortSignal {
    return this.#aborter.signal;
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

  async event(event: PlatformEvent): Promise<void> {
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

  /** Texts of messages that others sent. */
  texts(): string[] {
    return this.events
      .filter(({ payload }) => payload.kind === "message" && !payload.sender.is_self)
      .map(({ payload }) => payload.text ?? "");
  }
}

/**
 * Waits for a condition, looking often.
 *
 * @throws Error naming what did not come true within `withinMs`
 */
export async function until(what: string, holds: () => boolean, withinMs = 10_000): Promise<void> {
  const end = performance.now() + withinMs;
  while (!holds()) {
    if (performance.now() > end) throw new Error(`it did not come true within ${withinMs} ms: ${what}`);
    await delay(2);
  }
}

/**
 * Answers to requests for capabilities, gathered before the library sees them.
 *
 * A server takes a request whole or not at all, so one capability that it offers and refuses would take all others,
 * the login among them; and it may answer in several lines, each of which the library would take for the answer. A
 * request that is refused is made again for each capability by itself; the library is told once, at the end.
 */
import type { Line } from "../inbound.ts";

export interface CapabilityRequestsOptions {
  /** Capabilities that the library has asked for and not heard of. */
  readonly requested: () => readonly string[];
  readonly write: (line: string) => void;
}

export class CapabilityRequests {
  readonly #options: CapabilityRequestsOptions;
  readonly #taken = new Set<string>();
  readonly #refused = new Set<string>();
  #isSplit = false;

  constructor(options: CapabilityRequestsOptions) {
    this.#options = options;
  }

  /** @returns the parameters of the `CAP` lines that the library is to see instead of an `ACK` or `NAK` */
  see({ params }: Line): readonly (readonly string[])[] {
    const [target = "*", verb = "", ...rest] = params;
    const names = (rest.at(-1) ?? "").split(" ").filter((name) => name !== "");
    const requested = [...new Set(this.#options.requested())];
    if (requested.length === 0) return [params];
    const isRefusal = verb.toUpperCase() === "NAK";
    if (isRefusal && !this.#isSplit && requested.length > 1) {
      this.#isSplit = true;
      this.#taken.clear();
      for (const name of requested) this.#options.write(`CAP REQ :${name}`);
      return [];
    }
    for (const name of names) (isRefusal ? this.#refused : this.#taken).add(name);
    if (requested.some((name) => !this.#taken.has(name) && !this.#refused.has(name))) return [];
    const answers = [
      { verb: "NAK", names: requested.filter((name) => this.#refused.has(name)) },
      { verb: "ACK", names: requested.filter((name) => !this.#refused.has(name)) },
    ].filter((answer) => answer.names.length > 0);
    this.#taken.clear();
    this.#refused.clear();
    this.#isSplit = false;
    return answers.map((answer) => [target, answer.verb, answer.names.join(" ")]);
  }
}

/** Warns of lines that were skipped: each command once on a connection, so that no server can fill the log. */
import type { IdentityHost } from "@linkspan/daemon-kit";
import { quoted } from "../wire/formatting.ts";

const MAX_WARNINGS = 30;

export class Warnings {
  readonly #log: IdentityHost["log"];
  readonly #warned = new Set<string>();

  constructor(log: IdentityHost["log"]) {
    this.#log = log;
  }

  skipped(command: string, reason: string, error?: unknown): void {
    const name = /^[A-Z0-9]{1,20}$/.test(command) ? command : "unknown";
    if (this.#warned.has(name) || this.#warned.size >= MAX_WARNINGS) return;
    this.#warned.add(name);
    const err = error === undefined ? {} : { err: error };
    this.#log.warn({ event: "irc.line_skipped", command: name, reason: quoted(reason), ...err });
  }
}

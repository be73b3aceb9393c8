/** The state `connected` with its sentence for a person: our nickname, and what does not work at the moment. */
import type { IdentityHost } from "@linkspan/daemon-kit";
import type { Settings } from "../config.ts";
import type { Handshake } from "./handshake.ts";
import type { Nickname } from "./nickname.ts";
import type { NickServ } from "./nickserv.ts";

export interface StatusOptions {
  readonly settings: Settings;
  readonly host: IdentityHost;
  readonly nickname: Nickname;
  readonly nickserv: NickServ;
  readonly handshake: Handshake;
  /** Aborted when the connection is over; nothing is reported after that. */
  readonly over: AbortSignal;
}

export class Status {
  readonly #options: StatusOptions;
  #isConnected = false;

  constructor(options: StatusOptions) {
    this.#options = options;
  }

  /** Whether the channels that are wanted have answered, or taken too long. */
  get isConnected(): boolean {
    return this.#isConnected;
  }

  /** From now on we count as connected. */
  connected(notices: readonly string[]): void {
    this.#isConnected = true;
    this.report(notices.filter(Boolean).join("; "));
  }

  /** Reports the state again. @param notice for a person; empty when only our name or login has changed */
  report(notice: string): void {
    const { settings, host, nickname, nickserv, handshake, over } = this.#options;
    if (over.aborted || !this.#isConnected) return;
    const login = handshake.isLoginOpen
      ? `${nickserv.service} has not answered the login, which is tried again`
      : "";
    const more = [login, notice].filter(Boolean).join("; ");
    const message = `Connected to ${settings.network} as ${nickname.sentence}${more === "" ? "" : `: ${more}`}.`;
    host.state({ state: "connected", message });
  }
}

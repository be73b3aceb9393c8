/** Services that are talked to like a person: the login where SASL is not offered, and a nickname asked back. */
import type { Settings } from "../config.ts";
import type { Nickname } from "./nickname.ts";

export interface NickServOptions {
  readonly settings: Settings;
  readonly password: () => string | undefined;
  /** Says something that no event may show. */
  readonly sayQuietly: (target: string, text: string) => void;
  readonly nickname: Nickname;
  readonly same: (a: string, b: string) => boolean;
}

const MAX_RETAKES = 3;

export class NickServ {
  readonly #options: NickServOptions;
  #retakes = 0;

  constructor(options: NickServOptions) {
    this.#options = options;
  }

  get service(): string {
    return this.#options.settings.nickserv?.service ?? "NickServ";
  }

  /** Whether there is a password to say and leave to say it. */
  get isConfigured(): boolean {
    return this.#options.settings.nickserv !== undefined && this.#options.password() !== undefined;
  }

  identify(): void {
    const { settings, password, sayQuietly } = this.#options;
    const account = settings.nickserv?.account ?? settings.sasl?.account;
    sayQuietly(this.service, ["IDENTIFY", account, password()].filter(Boolean).join(" "));
  }

  /** Asks for our nickname, which somebody or a ghost of ours holds. */
  regain(): void {
    const { settings, password, sayQuietly } = this.#options;
    const { recover = "none" } = settings.nickserv ?? {};
    if (this.isConfigured && recover !== "none") {
      sayQuietly(this.service, `${recover} ${settings.nick} ${password()}`);
    }
  }

  /** Somebody sent a notice: if it is the services and our nickname is not ours yet, it may be free now. */
  heard(nick: string): void {
    const { nickname, same } = this.#options;
    if (!this.isConfigured || nickname.isWanted || !same(nick, this.service) || this.#retakes >= MAX_RETAKES)
      return;
    this.#retakes += 1;
    nickname.take();
  }
}

/** Services that are talked to like a person: the login where SASL is not offered, and a nickname asked back. */
import type { Settings } from "../config.ts";
import type { Line } from "../inbound.ts";
import { identifying, nickservFault } from "../secrets.ts";
import { textBytes } from "../wire/line-bytes.ts";
import type { Timers } from "./timers.ts";
import type { Names } from "./names.ts";
import type { Nickname } from "./nickname.ts";

export interface NickServOptions {
  readonly settings: Settings;
  readonly password: () => string | undefined;
  /** Says something that no event may show. */
  readonly sayQuietly: (target: string, text: string) => void;
  readonly nickname: Nickname;
  readonly names: Names;
  readonly timers: Timers;
  /** How long to wait before a login that got no answer is tried again. Default a minute, doubling up to an hour. */
  readonly againAfterMs?: number;
}

const MAX_RETAKES = 3;
const MAX_AGAIN_AFTER_MS = 3_600_000;

export class NickServ {
  readonly #options: Required<NickServOptions>;
  #retakes = 0;
  #againAfterMs: number;
  #cancel: () => void = () => undefined;

  constructor(options: NickServOptions) {
    this.#options = { againAfterMs: 60_000, ...options };
    this.#againAfterMs = this.#options.againAfterMs;
  }

  get service(): string {
    return this.#options.settings.nickserv?.service ?? "NickServ";
  }

  /** Whether there is a password to send and leave to send it. */
  get isConfigured(): boolean {
    return this.#options.settings.nickserv !== undefined && this.#options.password() !== undefined;
  }

  isService(nick: string): boolean {
    // It may be written as `NickServ@services.network`.
    return this.#options.names.same(nick, this.service.split("@")[0] ?? this.service);
  }

  /** Why the login cannot be sent; undefined when it can. */
  get fault(): string | undefined {
    const { settings, password } = this.#options;
    return nickservFault(settings, password());
  }

  identify(): void {
    const { settings, password, sayQuietly } = this.#options;
    sayQuietly(this.service, identifying(settings, password() ?? ""));
  }

  /** Whether a line of ours holds the login: a bouncer, or the network's history, may show it again. */
  isLogin({ command, params }: Line): boolean {
    const password = this.#options.password();
    const [target = "", text = ""] = params;
    if (password === undefined || (command !== "PRIVMSG" && command !== "NOTICE")) return false;
    return this.isService(target.split("@")[0] ?? target) && text.includes(password);
  }

  /** Nobody answered: the services may be away just now. */
  identifyLater(): void {
    this.#cancel();
    const afterMs = this.#againAfterMs;
    this.#againAfterMs = Math.min(MAX_AGAIN_AFTER_MS, afterMs * 2);
    this.#cancel = this.#options.timers.after(afterMs, () => {
      this.identify();
      this.identifyLater();
    });
  }

  /** The services have answered. */
  answered(): void {
    this.#cancel();
  }

  /** Asks for our nickname, which somebody or a ghost of ours holds. */
  regain(): void {
    const { settings, password, sayQuietly } = this.#options;
    const { recover = "none" } = settings.nickserv ?? {};
    const words = `${recover} ${settings.nick} ${password()}`;
    const fits = Buffer.byteLength(words) <= textBytes("PRIVMSG", this.service);
    if (!this.isConfigured || recover === "none" || !fits) return;
    this.#retakes = 0;
    sayQuietly(this.service, words);
  }

  /** Somebody sent a notice: if it is the services and our nickname is not ours yet, it may be free now. */
  heard(nick: string): void {
    const { nickname } = this.#options;
    if (!this.isConfigured || nickname.isWanted || !this.isService(nick) || this.#retakes >= MAX_RETAKES)
      return;
    this.#retakes += 1;
    nickname.take();
  }
}

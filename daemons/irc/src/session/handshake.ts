/**
 * From the first line to being welcome: a nickname, a login, and the end of the server's greeting.
 *
 * SASL comes first and decides alone. Only where it is not offered does NickServ get the password, after
 * registration. A login that is configured and does not succeed ends the connection: nobody is to be seen under
 * their nickname, and their own address, without it.
 */
import { loginRefused, nickRefused, registrationRefusalOf, type Ending } from "../errors.ts";
import type { Line } from "../inbound.ts";
import type { Nickname } from "./nickname.ts";
import type { NickServ } from "./nickserv.ts";

export interface HandshakeOptions {
  readonly nickname: Nickname;
  readonly write: (line: string) => void;
  readonly saslWanted: boolean;
  readonly nickserv: NickServ;
  readonly isChannel: (name: string) => boolean;
  readonly same: (a: string, b: string) => boolean;
  readonly onWelcome: () => void;
  readonly onEnd: (ending: Ending) => void;
  /** The server refuses us and will say why and close. */
  readonly onRefused: (ending: Ending) => void;
  readonly identifyTimeoutMs?: number;
}

export class Handshake implements Disposable {
  readonly #options: Required<HandshakeOptions>;
  #phase: "registering" | "greeted" | "identifying" | "welcome" = "registering";
  #account: string | undefined;
  #loggedIn = false;
  #failure: string | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: HandshakeOptions) {
    this.#options = { identifyTimeoutMs: 5_000, ...options };
  }

  /** The services account, once logged in. */
  get account(): string | undefined {
    return this.#account;
  }

  get registered(): boolean {
    return this.#phase !== "registering";
  }

  /** Registered, greeted, and logged in where that is configured. */
  get isWelcome(): boolean {
    return this.#phase === "welcome";
  }

  /** @param final SASL was tried and refused, or there is nothing else to try */
  loginFailed(why: string, final: boolean): void {
    this.#failure = why;
    if (final || !this.#options.nickserv.isConfigured) this.#options.onEnd(loginRefused(why));
  }

  see(line: Line): void {
    const { nickname } = this.#options;
    const [first = "", second = "", third = ""] = line.params;
    switch (line.command) {
      case "001":
        nickname.is(first);
        this.#phase = "greeted";
        break;
      case "376":
      case "422":
        if (this.#phase === "greeted") this.#login();
        break;
      case "900":
        [this.#account, this.#loggedIn] = [third, true];
        this.#identified();
        break;
      case "901":
        this.#account = undefined;
        break;
      case "903":
        this.#loggedIn = true;
        break;
      case "NOTICE":
        if (this.#options.same(line.nick, this.#options.nickserv.service)) this.#identified();
        break;
      case "432":
      case "433":
      case "436":
      case "437":
        if (!this.registered && !this.#options.isChannel(second)) this.#nickRefused(line);
        break;
      default:
        this.#refused(line);
    }
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
  }

  #refused(line: Line): void {
    const ending = registrationRefusalOf(line);
    if (ending !== undefined) this.#options.onRefused(ending);
  }

  #nickRefused({ command, params }: Line): void {
    const { nickname, write, onEnd } = this.#options;
    const refused = params[1] ?? "";
    // One that we made up may be too long; the one that was asked for is the person's to change.
    const next = command === "432" && nickname.isSelf(refused) ? undefined : nickname.next();
    if (next === undefined) onEnd(nickRefused(refused, params.at(-1) ?? ""));
    else write(`NICK ${next}`);
  }

  #login(): void {
    const { saslWanted, nickserv, identifyTimeoutMs, onEnd } = this.#options;
    if (this.#loggedIn || (!saslWanted && !nickserv.isConfigured)) this.#welcome();
    else if (!nickserv.isConfigured) onEnd(loginRefused(this.#failure ?? "the server does not offer SASL"));
    else {
      this.#phase = "identifying";
      this.#timer = setTimeout(() => this.#identified(), identifyTimeoutMs);
      nickserv.identify();
    }
  }

  /** NickServ has answered, or taken too long: its words reach the person as a message. */
  #identified(): void {
    if (this.#phase !== "identifying") return;
    clearTimeout(this.#timer);
    this.#welcome();
  }

  #welcome(): void {
    this.#phase = "welcome";
    this.#options.onWelcome();
  }
}

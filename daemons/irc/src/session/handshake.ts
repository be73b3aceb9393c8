/**
 * From the first line to being welcome: a nickname, a login, and the end of the server's greeting.
 *
 * SASL comes first and decides alone. Only where it is not offered does NickServ get the password, after
 * registration. A login that is configured and does not succeed ends the connection: nobody is to be visible
 * under their nickname, with their own address, without it. Whether it is tried again depends on what failed.
 */
import { type Ending, nickRefused, registrationRefusalOf } from "../errors.ts";
import type { Line } from "../inbound.ts";
import { isReminder, type LoginFailure, nickservRefusalOf, saslFailureOf } from "../logins.ts";
import type { Timers } from "./timers.ts";
import type { Names } from "./names.ts";
import type { Nickname } from "./nickname.ts";
import type { NickServ } from "./nickserv.ts";

export interface HandshakeOptions {
  readonly names: Names;
  readonly nickname: Nickname;
  readonly write: (line: string) => void;
  readonly saslWanted: boolean;
  readonly nickserv: NickServ;
  readonly timers: Timers;
  readonly onWelcome: () => void;
  readonly onEnd: (ending: Ending) => void;
  /** The login did not succeed; the connection must end. */
  readonly onLoginFailed: (failure: LoginFailure) => void;
  readonly onLoggedIn: () => void;
  /** The server refuses us and will send the reason and close. */
  readonly onRefused: (ending: Ending) => void;
  /** For a link: services that do not answer are a failure, too. */
  readonly mustProve: boolean;
  readonly identifyTimeoutMs?: number;
  /** How long after its first words a server that never ends its greeting is taken to be ready. */
  readonly greetTimeoutMs?: number;
}

export class Handshake {
  readonly #options: Required<HandshakeOptions>;
  #phase: "registering" | "greeted" | "identifying" | "welcome" = "registering";
  #loggedIn = false;
  #isUnanswered = false;
  #failure: string | undefined;
  #cancel: () => void = () => undefined;

  constructor(options: HandshakeOptions) {
    this.#options = { identifyTimeoutMs: 5_000, greetTimeoutMs: 5_000, ...options };
  }

  get registered(): boolean {
    return this.#phase !== "registering";
  }

  /** Registered, greeted, and logged in where that is configured. */
  get isWelcome(): boolean {
    return this.#phase === "welcome";
  }

  get isLoggedIn(): boolean {
    return this.#loggedIn;
  }

  /** The services that were given the password have not answered. */
  get isLoginOpen(): boolean {
    return this.#isUnanswered && !this.#loggedIn;
  }

  /** SASL is not offered, or not by this mechanism. */
  loginMissing(why: string): void {
    this.#failure = why;
    if (!this.#options.nickserv.isConfigured) this.#options.onLoginFailed({ why, isProven: false });
  }

  see(line: Line): void {
    const { names, nickname, nickserv } = this.#options;
    const [first = "", second = "", third = ""] = line.params;
    switch (line.command) {
      case "001":
        if (this.registered) break;
        nickname.is(first);
        this.#phase = "greeted";
        this.#after(this.#options.greetTimeoutMs, () => this.#login());
        break;
      case "376":
      case "422":
        this.#login();
        break;
      case "900":
        names.account = third;
        this.#succeeded();
        break;
      case "901":
        names.account = undefined;
        break;
      case "903":
      case "907":
        this.#succeeded();
        break;
      case "NOTICE":
        if (nickserv.isService(line.nick)) this.#heardOfNickServ(second);
        break;
      case "401":
      case "440":
        // There are no services just now.
        if (this.#phase === "identifying" && nickserv.isService(second.split("@")[0] ?? ""))
          this.#identified(false);
        break;
      case "513":
        this.#answerPing(line);
        break;
      case "430":
      case "432":
      case "433":
      case "435":
      case "436":
      case "437":
        if (!this.registered && !names.isChannel(second)) this.#nickRefused(line);
        break;
      default:
        this.#refused(line);
    }
  }

  #refused(line: Line): void {
    const failure = saslFailureOf(line);
    if (failure !== undefined) {
      if (!this.#loggedIn && !this.registered) this.#options.onLoginFailed(failure);
      return;
    }
    const ending = registrationRefusalOf(line);
    if (ending !== undefined && (line.command !== "FAIL" || !this.registered))
      this.#options.onRefused(ending);
  }

  /** Old servers want the number back that they ask for in words: `PONG 12345`. */
  #answerPing({ params }: Line): void {
    const [, number] = /PONG :?(\S+)/i.exec(params.at(-1) ?? "") ?? [];
    if (!this.registered && number !== undefined) this.#options.write(`PONG :${number}`);
  }

  #nickRefused({ command, params }: Line): void {
    const { names, nickname, write, onEnd } = this.#options;
    const refused = params[1] ?? "";
    // One that we made up may be too long; the one that was asked for is the person's to change.
    const next = command === "432" && names.isSelf(refused) ? undefined : nickname.next();
    if (next === undefined) onEnd(nickRefused(refused, params.at(-1) ?? ""));
    else write(`NICK ${next}`);
  }

  #login(): void {
    if (this.#phase !== "greeted") return;
    this.#cancel();
    const { saslWanted, nickserv, identifyTimeoutMs, onLoginFailed } = this.#options;
    if (this.#loggedIn || (!saslWanted && !nickserv.isConfigured)) this.#welcome();
    else if (!nickserv.isConfigured) {
      onLoginFailed({ why: this.#failure ?? "the server does not offer SASL", isProven: false });
    } else if (nickserv.fault !== undefined) {
      onLoginFailed({ why: nickserv.fault, isProven: !saslWanted });
    } else {
      this.#phase = "identifying";
      this.#after(identifyTimeoutMs, () => this.#identified(false));
      nickserv.identify();
    }
  }

  #heardOfNickServ(text: string): void {
    const { nickserv, onLoginFailed } = this.#options;
    if (isReminder(text)) return;
    nickserv.answered();
    this.#isUnanswered = false;
    if (this.#phase !== "identifying") return;
    const refusal = nickservRefusalOf(text);
    if (refusal !== undefined) onLoginFailed(refusal);
    else this.#identified(true);
  }

  #succeeded(): void {
    this.#loggedIn = true;
    this.#options.nickserv.answered();
    this.#options.onLoggedIn();
    this.#identified(true);
  }

  /** NickServ has answered, or taken too long: its words reach the person as a message. */
  #identified(isAnswered: boolean): void {
    if (this.#phase !== "identifying") return;
    this.#cancel();
    const { nickserv, mustProve, onLoginFailed } = this.#options;
    this.#isUnanswered = !isAnswered;
    if (isAnswered) this.#welcome();
    else if (mustProve) onLoginFailed({ why: `${nickserv.service} does not answer`, isProven: false });
    else {
      nickserv.identifyLater();
      this.#welcome();
    }
  }

  #welcome(): void {
    this.#phase = "welcome";
    this.#options.onWelcome();
  }

  #after(ms: number, work: () => void): void {
    this.#cancel();
    this.#cancel = this.#options.timers.after(ms, work);
  }
}

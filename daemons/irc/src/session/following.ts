/** Applies lines that concern ourselves: our nickname, login, kicks, and answers to requests of ours. */
import type { IdentityHost } from "@linkspan/daemon-kit";
import type { Line } from "../inbound.ts";
import { quoted } from "../wire/formatting.ts";
import type { Absence } from "./absence.ts";
import type { Backfill } from "./backfill.ts";
import type { Joins } from "./joins.ts";
import type { Names } from "./names.ts";
import type { Nickname } from "./nickname.ts";
import type { NickServ } from "./nickserv.ts";
import type { Status } from "./status.ts";

export interface FollowingOptions {
  readonly names: Names;
  readonly nickname: Nickname;
  readonly nickserv: NickServ;
  readonly log: IdentityHost["log"];
  readonly isWelcome: () => boolean;
  readonly hasMonitor: () => boolean;
  readonly joins: Joins;
  readonly backfill: Backfill;
  readonly absence: Absence;
  readonly status: Status;
}

export class Following {
  readonly #options: FollowingOptions;

  constructor(options: FollowingOptions) {
    this.#options = options;
  }

  see({ command, params, nick }: Line, isOurs: boolean): void {
    const { names, nickname, nickserv, joins, backfill, absence, status, log, isWelcome } = this.#options;
    const [first = "", second = "", third = ""] = params;
    switch (command) {
      case "NICK":
        if (isOurs) this.#renamed(first);
        else nickname.freed(nick);
        break;
      case "430":
      case "432":
      case "435":
      case "447":
      case "484":
        if (!names.isChannel(second)) this.#nickRefused(command, second, params.at(-1) ?? "");
        break;
      case "QUIT":
        nickname.freed(nick);
        break;
      case "731":
        for (const free of second.split(",")) nickname.freed(free.split("!")[0] ?? free);
        break;
      case "KICK":
        if (names.isSelf(second)) {
          const why = third === "" ? "" : ` (${quoted(third)})`;
          status.report(`${nick || "the server"} kicked us from ${first}${why}; join it again to go back`);
        }
        break;
      case "900":
        // Channels that refused us may let us in now.
        if (isWelcome()) joins.again();
        break;
      case "NOTICE":
        if (isWelcome()) nickserv.heard(nick);
        break;
      case "FAIL":
        if (first === "CHATHISTORY") backfill.refused(params);
        if (first === "NICK") this.#nickRefused(second, third, params.at(-1) ?? "");
        break;
      case "WARN":
        log.warn({ event: "irc.server_warning", of: quoted(first), code: quoted(second) });
        break;
      case "734":
        // The list is full: the nickname is asked back by time alone.
        log.info({ event: "irc.monitor_full" });
        break;
      case "CHATHISTORY":
        if (first === "TARGETS" && !names.isChannel(second)) absence.mend(second);
        break;
    }
  }

  /** Ours is not ours: from services, when it is free, and by time. */
  askNicknameBack(): void {
    const { nickname, nickserv, hasMonitor } = this.#options;
    if (nickname.isWanted) return;
    nickserv.regain();
    nickname.recover(hasMonitor());
  }

  /** By ourselves, or because services or operators decided so. */
  #renamed(nick: string): void {
    const { nickname, isWelcome, status } = this.#options;
    nickname.changed(nick);
    if (!isWelcome()) return;
    this.askNicknameBack();
    status.report("");
  }

  #nickRefused(code: string, nick: string, words: string): void {
    const { nickname, isWelcome, status } = this.#options;
    // Only what the nickname itself is refused for is for good; channels and other people change.
    const isFinal = code === "432" || /ERRONEOUS|INVALID/.test(code);
    const why = isFinal ? `${code} ${quoted(words)}` : undefined;
    if (isWelcome() && nickname.refused(nick, why)) status.report("");
  }
}

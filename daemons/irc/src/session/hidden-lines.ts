/** Lines of our own that become no event: messages that were sent from here and are shown again, and those that only services may read. */
import { type Line, serverTime } from "../inbound.ts";
import type { Names } from "./names.ts";
import type { NickServ } from "./nickserv.ts";
import type { OwnSends } from "./own-sends.ts";

export interface HiddenLinesOptions {
  readonly names: Names;
  readonly nickserv: NickServ;
  readonly ownSends: OwnSends;
  /** When the connection began; a line with an earlier time is replayed. */
  readonly began: Date;
}

export class HiddenLines {
  readonly #options: HiddenLinesOptions;

  constructor(options: HiddenLinesOptions) {
    this.#options = options;
  }

  includes(line: Line): boolean {
    const { names, nickserv } = this.#options;
    return this.#isOwnSend(line) || (names.isSelf(line.nick) && nickserv.isLogin(line));
  }

  /** A message of our own, shown again: marked, or replayed and remembered. */
  #isOwnSend(line: Line): boolean {
    const { names, ownSends, began } = this.#options;
    const { command, params, nick } = line;
    if (command !== "PRIVMSG" && command !== "NOTICE") return false;
    const at = serverTime(line);
    const isReplayed = at !== undefined && at < began;
    // Everybody sees the mark and can write it; under another name only a history can show what we said ourselves.
    if (ownSends.isMarked(line) && (isReplayed || names.isSelf(nick))) return true;
    if (!isReplayed || !names.isSelf(nick)) return false;
    return ownSends.takes(names.fold(params[0] ?? ""), params[1] ?? "");
  }
}

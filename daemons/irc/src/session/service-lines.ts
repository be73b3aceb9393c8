/**
 * Lines that look like somebody's message and are a server's or bouncer's own: where a replay begins and ends, and
 * joins and parts told in words by a service, where a client has not asked for the lines themselves.
 */
import type { Line } from "../inbound.ts";

/** Pseudo-users of ZNC that speak in channels; `*status` and other modules are answered, and so are people. */
const ZNC = /^(?:\*{3}|\*buffextras|\*playback)$/;
/** Of Ergo, InspIRCd's and UnrealIRCd's histories, and what clones of them use. */
const HISTORY_SERVICES = /^(?:HistServ|HistoryServ|History|Replay)$/i;

/** @param isReplayed the line is in a batch of history */
export function isServiceLine({ command, nick, host, user }: Line, isReplayed: boolean): boolean {
  if (command !== "PRIVMSG" && command !== "NOTICE") return false;
  if (ZNC.test(nick) && (host === "znc.in" || user === "znc" || isReplayed)) return true;
  return isReplayed && (nick === "" || (HISTORY_SERVICES.test(nick) && (user === nick || user === "")));
}

/** Makes the parts of one connection and connects them with each other and, by {@link Hooks}, with their session. */
import type { PlatformEvent } from "@linkspan/daemon-kit";
import { IrcClient } from "../client.ts";
import { disconnected, type Ending, tlsWanted } from "../errors.ts";
import { type Line, type Seen, toEvents } from "../inbound.ts";
import { loginEnding } from "../logins.ts";
import { Absence } from "./absence.ts";
import { Backfill } from "./backfill.ts";
import { Channels } from "./channels.ts";
import { EventQueue } from "./event-queue.ts";
import { Following } from "./following.ts";
import { Handshake } from "./handshake.ts";
import { HiddenLines } from "./hidden-lines.ts";
import { Joins } from "./joins.ts";
import { KeyChanges } from "./key-changes.ts";
import { LiveEvents } from "./live-events.ts";
import { Liveness } from "./liveness.ts";
import type { Drift } from "./memory.ts";
import { Names } from "./names.ts";
import { Nickname } from "./nickname.ts";
import { NickServ } from "./nickserv.ts";
import { clientOptions, type SessionOptions } from "./options.ts";
import { Source } from "./source.ts";
import { Speaker } from "./speaker.ts";
import { Status } from "./status.ts";
import type { Timers } from "./timers.ts";
import { Warnings } from "./warnings.ts";
import { Writer } from "./writer.ts";

/** Callbacks into the session. None is called before `partsOf` has returned. */
export interface Hooks {
  readonly onLine: (line: Line) => void;
  /** The socket is closed. */
  readonly onClose: (error: Error | undefined) => void;
  readonly onWelcome: () => void;
  /** The server refuses the connection; its reason and the end of the connection follow. */
  readonly onRefused: (ending: Ending) => void;
  readonly end: (ending: Ending) => void;
}

export type Parts = ReturnType<typeof partsOf>;

/** @param connection id of the connection */
export function partsOf(options: SessionOptions, connection: string, timers: Timers, hooks: Hooks) {
  const { identity, settings, host, memory, patience, secret } = options;
  const { over } = timers;
  const warnings = new Warnings(host.log);
  const client = new IrcClient(clientOptions(options), {
    onLine: hooks.onLine,
    onLoginMissing: (why) => handshake.loginMissing(why),
    onTlsWanted: (port) => hooks.end(tlsWanted(settings.host, port)),
    onOdd: (command, error) => warnings.skipped(command, "it could not be read", error),
    onClose: hooks.onClose,
  });
  const { isupport } = client;
  const writer = new Writer(client, memory.gate, timers);
  const write = (line: string) => writer.soon(line);
  const isWelcome = () => handshake.isWelcome && !over.aborted;
  const report = (notice: string) => status.report(notice);
  const names = new Names({
    identity,
    network: settings.network,
    nick: settings.nick,
    server: client,
    spellings: memory.spellings,
  });
  const events = new EventQueue({
    deliver: (event) => host.event(withDrift(event, memory.drift)),
    pause: () => writer.pause(),
    resume: () => writer.resume(),
    onRefused: (error) => {
      if (!host.signal.aborted) host.log.warn({ event: "irc.events_refused", err: error });
      hooks.end(disconnected("the core does not take events"));
    },
  });
  const source = new Source();
  const keyChanges = new KeyChanges({ memory, isupport, keep: options.keepKey });
  const channels = new Channels({ names, memberPrefixes: () => isupport.memberPrefixes });
  const joins = new Joins({
    memory,
    write,
    names,
    timers,
    maxChannels: () => isupport.maxTargets("JOIN"),
    followForwards: settings.followForwards,
    onNotice: report,
  });
  const speaker = new Speaker({
    client,
    writer,
    joins,
    source,
    timers,
    connection,
    names,
    channels,
    ownSends: memory.ownSends,
    isWelcome,
    onStuck: () => hooks.end(disconnected("the server takes nothing any more")),
  });
  const nickname = new Nickname({
    wanted: settings.nick,
    names,
    write,
    timers,
    maxLength: () => isupport.number("NICKLEN"),
    askAfterMs: patience.askNickMs,
  });
  const nickserv = new NickServ({
    settings,
    password: () => secret("password"),
    sayQuietly: (target, text) => speaker.sayQuietly(target, text),
    nickname,
    names,
    timers,
    againAfterMs: patience.identifyAgainMs,
  });
  const handshake: Handshake = new Handshake({
    names,
    nickname,
    nickserv,
    timers,
    write: (line) => client.write(line),
    saslWanted: settings.sasl !== undefined,
    mustProve: options.linking === true,
    identifyTimeoutMs: patience.identifyMs,
    greetTimeoutMs: patience.greetMs,
    onWelcome: hooks.onWelcome,
    onEnd: hooks.end,
    onLoginFailed: (failure) => hooks.end(loginEnding(failure, memory.logins)),
    onLoggedIn: () => {
      memory.logins.hasWorked = true;
      memory.logins.refusals = 0;
      if (isWelcome()) report("");
    },
    onRefused: hooks.onRefused,
  });
  const status: Status = new Status({ settings, host, nickname, nickserv, handshake, over });
  const liveness = new Liveness({
    quietMs: patience.quietMs,
    graceMs: patience.graceMs,
    timers,
    ask: () => client.write("PING :alive"),
    onUnanswered: () => hooks.end(disconnected("the server has stopped answering")),
    isPaused: () => client.paused,
  });
  const hidden = new HiddenLines({ names, nickserv, ownSends: memory.ownSends, began: timers.now() });
  const live: LiveEvents = new LiveEvents({
    names,
    memory,
    timers,
    membership: settings.membership,
    splitMs: patience.splitMs,
    emit: (all) => events.put(all.filter((event) => !backfill.hold(event))),
  });
  /** Events of a line of a history: those that the rules for live lines leave of it. */
  const replayed = (line: Line, seen: Seen, target: string): readonly PlatformEvent[] => {
    if (hidden.includes(line)) return [];
    const shared = names.isChannel(target) ? [names.fold(target)] : [];
    return toEvents(line, names.self, seen, shared).filter((event) => live.isWanted(event, line));
  };
  const backfill: Backfill = new Backfill({
    write,
    emit: (all) => events.put(all),
    timers,
    names,
    eventsOf: replayed,
    learn: (id) => memory.learn(id),
    seenUntil: memory.seenUntil,
    pageSize: () => isupport.number("CHATHISTORY") ?? 100,
    references: () => isupport.list("MSGREFTYPES") ?? ["msgid", "timestamp"],
  });
  const absence = new Absence({
    from: memory.seenUntil,
    hasHistory: () => isWelcome() && client.hasHistory,
    backfill,
    timers,
    write,
    onLost: (sentence, error) => {
      host.log.warn({ event: "irc.gap_open", err: error });
      report(sentence);
    },
  });
  const following = new Following({
    names,
    nickname,
    nickserv,
    joins,
    backfill,
    absence,
    status,
    log: host.log,
    isWelcome,
    hasMonitor: () => isupport.token("MONITOR") !== undefined,
  });
  return {
    absence,
    backfill,
    channels,
    client,
    events,
    following,
    handshake,
    hidden,
    isWelcome,
    joins,
    keyChanges,
    live,
    liveness,
    names,
    source,
    speaker,
    status,
    warnings,
  };
}

function withDrift(event: PlatformEvent, drift: Drift): PlatformEvent {
  const { payload } = event;
  return { ...event, payload: { ...payload, cursor: { ...payload.cursor, ...drift } } };
}

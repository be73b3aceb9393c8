/**
 * One connection of one identity, from the first byte to the last.
 *
 * A line of the server passes, in this order: liveness · history, which is kept apart: it does not happen now · the
 * handshake and the joins, which it may answer · confirmations, which take our own echoes out · the channels and
 * whatever else follows the state · events.
 */
import { randomBytes } from "node:crypto";
import type { HistoryRequest, PlatformEvent, RosterEntry, Said, Window } from "@linkspan/daemon-kit";
import { FabricError, isFabricError } from "@linkspan/envelopes";
import { IrcClient } from "../client.ts";
import { conversationOf, isChannel, nickRef, placeOf, type Self } from "../conversation.ts";
import { broken, disconnected, type Ending, endingOf, socketEnding, tlsWanted } from "../errors.ts";
import { toEvents, type Line, type Seen, serverTime } from "../inbound.ts";
import { loginEnding, loginRefused, loginUnavailable } from "../logins.ts";
import type { Write } from "../outbound.ts";
import { Refusal } from "../refusals.ts";
import { fold } from "../wire/casemapping.ts";
import { Absence } from "./absence.ts";
import { Backfill } from "./backfill.ts";
import { type Batch, Batches, within } from "./batches.ts";
import { Channels } from "./channels.ts";
import { EventQueue } from "./event-queue.ts";
import { Following } from "./following.ts";
import { Handshake } from "./handshake.ts";
import { Joins } from "./joins.ts";
import { KeyChanges } from "./key-changes.ts";
import { Liveness } from "./liveness.ts";
import type { Drift } from "./memory.ts";
import { Names } from "./names.ts";
import { News } from "./news.ts";
import { Nickname } from "./nickname.ts";
import { NickServ } from "./nickserv.ts";
import { linesOf, oddityOf } from "./odd-lines.ts";
import { clientOptions, type SessionOptions } from "./options.ts";
import { isServiceLine } from "./service-lines.ts";
import { Source } from "./source.ts";
import { Speaker } from "./speaker.ts";
import { Timers } from "./timers.ts";
import { Warnings } from "./warnings.ts";
import { Writer } from "./writer.ts";

/** Of a server or a bouncer, whoever's name for it it is. */
const HISTORY = /^(?:[a-z0-9.-]+\/)?(?:chathistory|playback)$/;
const QUIT_REASON = "Linkspan";
/** How long a server that refused us may take to say why. */
const LAST_WORDS_MS = 3_000;
export class Session {
  /** Random: with the line's number it names what the server gives no id. */
  readonly id = randomBytes(9).toString("base64url");
  /** Resolves when the server has welcomed us, or the connection has ended before that. */
  readonly welcome: Promise<void>;
  /** Resolves when the connection is over, with the reason. */
  readonly ended: Promise<Ending>;

  readonly #options: SessionOptions;
  readonly #over = new AbortController();
  readonly #welcome = Promise.withResolvers<void>();
  readonly #ended = Promise.withResolvers<Ending>();
  readonly #client: IrcClient;
  readonly #writer: Writer;
  readonly #events: EventQueue;
  readonly #nickname: Nickname;
  readonly #nickserv: NickServ;
  readonly #handshake: Handshake;
  readonly #channels: Channels;
  readonly #joins: Joins;
  readonly #speaker: Speaker;
  readonly #news: News;
  readonly #absence: Absence;
  readonly #batches = new Batches();
  readonly #source = new Source();
  #backfill: Backfill | undefined;
  #liveness: Liveness | undefined;
  #cancelDeadline: () => void;
  readonly #timers: Timers;
  #ending: Ending | undefined;
  #lines = 0;
  #arrived = false;
  readonly #names: Names;
  readonly #warnings: Warnings;
  readonly #keyChanges: KeyChanges;
  readonly #following: Following;

  constructor(options: SessionOptions) {
    const { settings, host, memory, patience, secret } = options;
    this.#options = options;
    this.welcome = this.#welcome.promise;
    this.ended = this.#ended.promise;
    this.#timers = new Timers(options.clock, (work) => this.#guard(work), this.#over.signal);
    const timers = this.#timers;
    this.#warnings = new Warnings(host.log);
    this.#client = new IrcClient(clientOptions(options), {
      onLine: (line) => this.#onLine(line),
      onLoginMissing: (why) => this.#handshake.loginMissing(why),
      onTlsWanted: (port) => this.#end(tlsWanted(settings.host, port)),
      onOdd: (command, error) => this.#warnings.skipped(command, "it could not be read", error),
      onClose: (error) => this.#end(this.#ending ?? socketEnding(error, settings.host)),
    });
    this.#writer = new Writer(this.#client, memory.gate, timers);
    this.#events = new EventQueue({
      deliver: (event) => host.event(withDrift(event, memory.drift)),
      pause: () => this.#writer.pause(),
      resume: () => this.#writer.resume(),
      onRefused: (error) => {
        if (!host.signal.aborted) host.log.warn({ event: "irc.events_refused", err: error });
        this.#end(disconnected("the core does not take events"));
      },
    });

    const foldName = (name: string) => this.#fold(name);
    const same = (a: string, b: string) => this.#fold(a) === this.#fold(b);
    const isSelf = (nick: string) => this.#nickname.isSelf(nick);
    this.#keyChanges = new KeyChanges({
      memory,
      isupport: this.#client.isupport,
      keep: (channel, key) => options.keepKey(channel, key),
    });
    this.#names = new Names({
      memory,
      fold: foldName,
      isSelf,
      channels: () => this.#channels,
      began: timers.now(),
    });
    const write = (line: string) => this.#writer.soon(line);
    this.#nickname = new Nickname({
      wanted: settings.nick,
      same,
      write,
      timers,
      maxLength: () => this.#client.isupport.number("NICKLEN"),
      askAfterMs: patience.askNickMs,
    });
    this.#nickserv = new NickServ({
      settings,
      password: () => secret("password"),
      sayQuietly: (target, text) => this.#speaker.sayQuietly(target, text),
      nickname: this.#nickname,
      same,
      timers,
      againAfterMs: patience.identifyAgainMs,
    });
    this.#handshake = new Handshake({
      nickname: this.#nickname,
      nickserv: this.#nickserv,
      write: (line) => this.#client.write(line),
      saslWanted: settings.sasl !== undefined,
      isChannel: (name) => isChannel(this.#client.facts, name),
      timers,
      mustProve: options.linking === true,
      identifyTimeoutMs: patience.identifyMs,
      greetTimeoutMs: patience.greetMs,
      onWelcome: () => this.#onWelcome(),
      onEnd: (ending) => this.#end(ending),
      onLoginFailed: (failure) => this.#end(loginEnding(failure, memory.logins)),
      onLoggedIn: () => {
        memory.logins.hasWorked = true;
        memory.logins.refusals = 0;
        if (this.isWelcome) this.#tell("");
      },
      onRefused: (ending) => this.#awaitLastWords(ending),
    });
    const memberPrefixes = () => this.#client.isupport.memberPrefixes;
    this.#channels = new Channels({ fold: foldName, isSelf, memberPrefixes });
    this.#joins = new Joins({
      memory,
      write,
      fold: foldName,
      isSelf,
      timers,
      maxChannels: () => this.#client.isupport.maxTargets("JOIN"),
      followForwards: settings.followForwards,
      onNews: (sentence) => this.#tell(sentence),
    });
    this.#speaker = new Speaker({
      client: this.#client,
      writer: this.#writer,
      joins: this.#joins,
      source: this.#source,
      timers,
      connection: this.id,
      isWelcome: () => this.isWelcome,
      isSelf,
      same,
      spelled: (name) => this.#names.spelled(name),
      fold: foldName,
      ownSends: memory.ownSends,
      onStuck: () => this.#end(disconnected("the server takes nothing any more")),
    });
    this.#news = new News({
      ...patience,
      ...settings,
      self: () => this.self,
      memory,
      isSelf,
      timers,
      fold: foldName,
      emit: (events) => this.#events.put(events.filter((event) => this.#backfill?.hold(event) !== true)),
    });
    this.#absence = new Absence({
      from: memory.seenUntil,
      hasHistory: () => this.#client.hasHistory,
      backfill: () => this.#backfill,
      timers,
      write,
      onLost: (sentence, error) => {
        host.log.warn({ event: "irc.gap_open", err: error });
        this.#tell(sentence);
      },
    });
    this.#following = new Following({
      nickname: this.#nickname,
      nickserv: this.#nickserv,
      log: host.log,
      isWelcome: () => this.isWelcome,
      isChannel: (name) => isChannel(this.#client.facts, name),
      hasMonitor: () => this.#client.isupport.token("MONITOR") !== undefined,
      onLoggedIn: () => this.#joins.again(),
      onNoHistory: (params) => this.#backfill?.refused(params),
      onQuery: (nick) => this.#absence.mend(nick),
      tell: (news) => this.#tell(news),
    });
    const onLate = () => {
      const isLogin = this.#client.has("sasl") && !this.#handshake.isLoggedIn;
      this.#end(
        isLogin
          ? loginUnavailable("it got no answer in time")
          : disconnected("the server did not let us in in time"),
      );
    };
    this.#cancelDeadline = timers.after(patience.registerMs, onLate);
    if (settings.sasl?.mechanism === "PLAIN" && secret("password") === undefined) {
      this.#end(loginRefused("there is no password"));
    }
  }

  get self(): Self {
    const { identity, settings } = this.#options;
    return {
      workspaceId: identity.workspaceId,
      identityId: identity.identityId,
      network: settings.network,
      nick: this.#nickname.current,
      account: this.#handshake.account,
      ...this.#client.facts,
    };
  }

  /** Lines that one text takes; what its parts cost. */
  get linesPerText(): number {
    return this.#speaker.linesPerText;
  }

  get isWelcome(): boolean {
    return this.#handshake.isWelcome && !this.#over.signal.aborted;
  }

  /** @throws FabricError `platform.*` when it was not written; UncertainSend when it was, and not confirmed */
  async perform(write: Write, key: string, window: Window): Promise<Said> {
    const { memory, host } = this.#options;
    try {
      const said = await this.#speaker.perform(write, key, window);
      memory.learn(said.remoteId);
      if (write.do === "join" && write.key !== undefined) await this.#keepKey(write.channel, write.key);
      if (write.do === "leave") await this.#keepKey(write.channel, undefined);
      return said;
    } catch (error) {
      // What only one channel or person does not take now slows nothing else down.
      const isWide = !(error instanceof Refusal) || error.scope === "identity";
      if (isFabricError(error) && error.code === "platform.rate_limited" && isWide) {
        host.throttle({ reason: error.message, retryAfterMs: error.retryAfterMs ?? 0 });
      }
      throw error;
    }
  }

  /** @throws FabricError `platform.unsupported` where the server keeps no history, other `platform.*` */
  async history({ conversation, after, limit }: HistoryRequest): Promise<void> {
    if (this.#backfill === undefined || !this.#client.hasHistory) {
      throw new FabricError("platform.unsupported", "this server keeps no history");
    }
    const target = this.#names.spelled(placeOf(this.self, conversation).name);
    await this.#backfill.fetch(target, after, limit);
    await this.#events.empty();
  }

  roster(): readonly RosterEntry[] {
    const { self } = this;
    const channels = this.#channels.names.map((name): RosterEntry => {
      return {
        ref: conversationOf(self, { kind: "channel", name: this.#fold(name) }),
        name,
        kind: "channel",
      };
    });
    const others = this.#channels.members.filter((nick) => !this.#nickname.isSelf(nick));
    return [
      ...channels,
      ...others.map((name): RosterEntry => ({ ref: nickRef(self, name), name, kind: "contact" })),
    ];
  }

  /** Says goodbye. Resolves when the connection is closed and every event of it delivered. */
  async close(withinMs = 2_000): Promise<void> {
    if (!this.#over.signal.aborted) {
      const ending = (this.#ending ??= disconnected("it was closed"));
      this.#client.quit(QUIT_REASON);
      await Promise.race([this.#ended.promise, this.#timers.sleep(withinMs)]);
      this.#end(ending);
    }
    await this.#ended.promise;
  }

  /** A line that cannot be served is skipped with a warning; it never ends the connection. */
  #onLine(line: Line): void {
    const oddity = oddityOf(line);
    if (oddity !== undefined) {
      this.#lines += 1;
      this.#warnings.skipped(line.command, oddity);
      return;
    }
    for (const one of linesOf(line)) {
      try {
        this.#serve(one);
      } catch (error) {
        this.#warnings.skipped(one.command, "it could not be served", error);
      }
    }
  }

  #serve(line: Line): void {
    this.#lines += 1;
    const seen: Seen = { connection: this.id, line: this.#lines, receivedAt: this.#timers.now() };
    this.#liveness?.heard();
    const batch = this.#batches.of(line);
    const label = this.#batches.labelOf(line);
    const { ends } = this.#batches.see(line);
    const history = within(batch, HISTORY);
    if (ends !== undefined && HISTORY.test(ends.type)) this.#backfill?.end(ends.params[0] ?? "");
    if (history !== undefined) {
      const target = history.params[0] ?? "";
      this.#names.see(line);
      if (!isServiceLine(line, true)) this.#backfill?.collect(target, line, seen);
      return;
    }
    if (line.command === "ERROR") this.#ending = endingOf(line.params.at(-1) ?? "", this.#ending);
    if (this.isWelcome) this.#options.memory.seen(serverTime(line), seen.receivedAt);
    this.#handshake.see(line);
    const isAnswer = this.#joins.see(line);
    const tell = () => this.#happen(line, batch, seen);
    if (!isAnswer && this.#speaker.see(line, label, seen.receivedAt, tell)) return;
    if (this.#handshake.registered) tell();
  }

  #happen(line: Line, batch: Batch | undefined, seen: Seen): void {
    const before = this.self;
    const isOurs = this.#nickname.isSelf(line.nick);
    const shared = line.command === "QUIT" || line.command === "NICK" ? this.#channels.of(line.nick) : [];
    this.#names.see(line);
    this.#source.see(line, isOurs);
    this.#keyChanges.see(line);
    this.#channels.see(line);
    this.#following.see(line, isOurs);
    if (isServiceLine(line, false) || this.#isPrivate(line)) return;
    this.#news.tell({ line, seen, batch, before, shared });
    if (line.command === "JOIN" && isOurs && !this.#arrived) this.#absence.mend(line.params[0] ?? "");
  }

  /** Something of our own that is no news: what was said here, and what only services may read. */
  #isPrivate(line: Line): boolean {
    return this.#names.isOwnSend(line) || (this.#nickname.isSelf(line.nick) && this.#nickserv.isLogin(line));
  }

  async #keepKey(channel: string, key: string | undefined): Promise<void> {
    const fault = await this.#options.keepKey(channel, key);
    if (fault !== undefined) this.#tell(fault);
  }

  /** What a timer or the socket calls. A fault of ours is the kit's to handle: it opens the connection anew, later. */
  #guard(work: () => void): void {
    if (this.#over.signal.aborted) return;
    this.#options.host.guard(() => {
      try {
        work();
      } catch (error) {
        this.#end({ ...broken(error), retry: "never" });
        throw error;
      }
    })();
  }

  #fold(name: string): string {
    return fold(name, this.#client.facts.caseMapping);
  }

  #conversation(target: string): string {
    const kind = isChannel(this.#client.facts, target) ? "channel" : "query";
    return conversationOf(this.self, { kind, name: this.#fold(target) });
  }

  #onWelcome(): void {
    const { memory, patience } = this.#options;
    this.#cancelDeadline();
    const timers = this.#timers;
    this.#liveness = new Liveness({
      ...patience,
      timers,
      ask: () => this.#client.write("PING :alive"),
      onDeaf: () => this.#end(disconnected("the server has stopped answering")),
      isDeafening: () => this.#client.paused,
    });
    const { seenUntil } = memory;
    this.#backfill = new Backfill({
      write: (line) => this.#writer.soon(line),
      emit: (events) => this.#events.put(events),
      timers,
      eventsOf: (line, seen, target) => this.#replayed(line, seen, target),
      conversation: (target) => this.#conversation(target),
      learn: (id) => memory.learn(id),
      seenUntil,
      pageSize: this.#client.isupport.number("CHATHISTORY") ?? 100,
      references: this.#client.isupport.list("MSGREFTYPES") ?? ["msgid", "timestamp"],
    });
    memory.gate.restart();
    if (this.#options.linking !== true) {
      this.#arrive().catch((error: unknown) => {
        this.#guard(() => {
          throw error;
        });
      });
      this.#absence.askForQueries();
      this.#following.askNicknameBack();
    }
    this.#welcome.resolve();
  }

  /** Events of a line of a history: what the live rules leave of it. */
  #replayed(line: Line, seen: Seen, target: string): readonly PlatformEvent[] {
    if (this.#isPrivate(line)) return [];
    const channels = isChannel(this.#client.facts, target) ? [this.#fold(target)] : [];
    return toEvents(line, this.self, seen, channels).filter((event) => this.#news.isWanted(event, line));
  }

  /** Connected is who is in the channels that are wanted: before that, what is said there would be missed. */
  async #arrive(): Promise<void> {
    const late = Promise.withResolvers<void>();
    const cancel = this.#timers.after(this.#options.patience.joinMs, late.resolve);
    await Promise.race([this.#joins.start(), late.promise]);
    cancel();
    this.#arrived = true;
    this.#tell([this.#absence.sentence, ...this.#joins.news].filter(Boolean).join("; "));
  }

  /** We are connected, and there is something a person should know. */
  #tell(news: string): void {
    if (this.#over.signal.aborted || !this.#arrived) return;
    const { settings, host } = this.#options;
    const login = this.#handshake.isLoginOpen
      ? `${this.#nickserv.service} has not answered the login, which is tried again`
      : "";
    const more = [login, news].filter(Boolean).join("; ");
    const message = `Connected to ${settings.network} as ${this.#nickname.sentence}${more === "" ? "" : `: ${more}`}.`;
    host.state({ state: "connected", message });
  }

  #awaitLastWords(ending: Ending): void {
    this.#ending = ending;
    this.#cancelDeadline();
    this.#cancelDeadline = this.#timers.after(LAST_WORDS_MS, () => this.#end(ending));
  }

  #end(ending: Ending): void {
    if (this.#over.signal.aborted) return;
    this.#ending = ending;
    this.#over.abort();
    this.#cancelDeadline();
    const { log } = this.#options.host;
    const parts = [this.#news, this.#joins];
    const steps = [
      () => this.#backfill?.close(),
      ...parts.map((part) => () => part[Symbol.dispose]()),
      () => this.#keyChanges.flush(),
      () => this.#speaker.end(),
    ];
    // What one leaves undone must not keep the connection from ending.
    for (const step of steps) {
      try {
        step();
      } catch (error) {
        log.error({ event: "irc.failed", err: error });
      }
    }
    this.#client.destroy();
    this.#welcome.resolve();
    const over = () => this.#ended.resolve(ending);
    this.#events.empty().then(over, over);
  }
}

function withDrift(event: PlatformEvent, drift: Drift): PlatformEvent {
  const { payload } = event;
  return { ...event, payload: { ...payload, cursor: { ...payload.cursor, ...drift } } };
}

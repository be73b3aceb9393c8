/**
 * One connection of one identity, from the first byte to the last.
 *
 * A line of the server passes, in this order: liveness · history, which is kept apart: it does not happen now · the
 * handshake and the joins, which it may answer · confirmations, which take our own echoes out · the channels and
 * whatever else follows the state · events.
 */
import { randomBytes } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import type { HistoryRequest, PlatformEvent, RosterEntry, Said, Window } from "@linkspan/daemon-kit";
import { FabricError, isFabricError } from "@linkspan/envelopes";
import { IrcClient } from "../client.ts";
import { conversationOf, isChannel, nickRef, placeOf, type Self } from "../conversation.ts";
import { disconnected, type Ending, endingOf, loginRefused, quoted, socketEnding } from "../errors.ts";
import { eventsOf, type Line, type Seen, serverTime } from "../inbound.ts";
import type { Write } from "../outbound.ts";
import { fold } from "../wire/casemapping.ts";
import { Absence } from "./absence.ts";
import { Backfill } from "./backfill.ts";
import { type Batch, Batches, within } from "./batches.ts";
import { Channels } from "./channels.ts";
import { EventQueue } from "./event-queue.ts";
import { Handshake } from "./handshake.ts";
import { Joins } from "./joins.ts";
import { Liveness } from "./liveness.ts";
import type { Drift } from "./memory.ts";
import { News } from "./news.ts";
import { Nickname } from "./nickname.ts";
import { NickServ } from "./nickserv.ts";
import { clientOptions, type SessionOptions } from "./options.ts";
import { Source } from "./source.ts";
import { Speaker } from "./speaker.ts";
import { Writer } from "./writer.ts";

const HISTORY = /^(?:draft\/)?chathistory$|^znc\.in\/playback$/;
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
  #deadline: NodeJS.Timeout;
  #ending: Ending | undefined;
  #lines = 0;
  #arrived = false;

  constructor(options: SessionOptions) {
    const { settings, host, memory, patience, secret } = options;
    this.#options = options;
    this.welcome = this.#welcome.promise;
    this.ended = this.#ended.promise;
    this.#client = new IrcClient(clientOptions(options), {
      onLine: (line) => this.#onLine(line),
      onLoginFailed: (why, final) => this.#handshake.loginFailed(why, final),
      onClose: (error) => this.#end(this.#ending ?? socketEnding(error, settings.host)),
    });
    this.#writer = new Writer(this.#client, memory.gate, this.#over.signal);
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
    const write = (line: string) => this.#writer.soon(line);
    this.#nickname = new Nickname({ wanted: settings.nick, same, write });
    this.#nickserv = new NickServ({
      settings,
      password: () => secret("password"),
      sayQuietly: (target, text) => this.#speaker.sayQuietly(target, text),
      nickname: this.#nickname,
      same,
    });
    this.#handshake = new Handshake({
      nickname: this.#nickname,
      nickserv: this.#nickserv,
      write: (line) => this.#client.write(line),
      saslWanted: settings.sasl !== undefined,
      isChannel: (name) => isChannel(this.#client.facts, name),
      same,
      identifyTimeoutMs: patience.identifyMs,
      onWelcome: () => this.#onWelcome(),
      onEnd: (ending) => this.#end(ending),
      onRefused: (ending) => this.#awaitLastWords(ending),
    });
    const memberPrefixes = () => this.#client.memberPrefixes;
    this.#channels = new Channels({ fold: foldName, isSelf, memberPrefixes });
    this.#joins = new Joins({
      memory,
      write,
      fold: foldName,
      isSelf,
      onRefused: (refusal) => this.#tell(refusal),
    });
    this.#speaker = new Speaker({
      client: this.#client,
      writer: this.#writer,
      joins: this.#joins,
      source: this.#source,
      connection: this.id,
      isWelcome: () => this.isWelcome,
      isSelf,
      same,
      onStuck: () => this.#end(disconnected("the server takes nothing any more")),
    });
    this.#news = new News({
      ...patience,
      ...settings,
      self: () => this.self,
      memory,
      isSelf,
      fold: foldName,
      emit: (events) => this.#events.put(events.filter((event) => this.#backfill?.hold(event) !== true)),
    });
    this.#absence = new Absence({
      from: memory.seenUntil,
      hasHistory: () => this.#client.hasHistory,
      backfill: () => this.#backfill,
      write,
      onLost: (sentence, error) => {
        host.log.warn({ event: "irc.gap_open", err: error });
        this.#tell(sentence);
      },
    });
    const tooSlow = disconnected("the server did not let us in in time");
    this.#deadline = setTimeout(() => this.#end(tooSlow), patience.registerMs);
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
    try {
      const said = await this.#speaker.perform(write, key, window);
      this.#options.memory.learn(said.remoteId);
      return said;
    } catch (error) {
      if (isFabricError(error) && error.code === "platform.rate_limited") {
        this.#options.host.throttle({ reason: error.message, retryAfterMs: error.retryAfterMs ?? 0 });
      }
      throw error;
    }
  }

  /** @throws FabricError `platform.unsupported` where the server keeps no history, other `platform.*` */
  async history({ conversation, after, limit }: HistoryRequest): Promise<void> {
    if (this.#backfill === undefined || !this.#client.hasHistory) {
      throw new FabricError("platform.unsupported", "this server keeps no history");
    }
    await this.#backfill.fetch(placeOf(this.self, conversation).name, after, limit);
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
      await Promise.race([this.#ended.promise, delay(withinMs)]);
      this.#end(ending);
    }
    await this.#ended.promise;
  }

  #onLine(line: Line): void {
    this.#lines += 1;
    const seen: Seen = { connection: this.id, line: this.#lines, receivedAt: new Date() };
    this.#liveness?.heard();
    const batch = this.#batches.of(line);
    const label = this.#batches.labelOf(line);
    const { ends } = this.#batches.see(line);
    const history = within(batch, HISTORY);
    if (ends !== undefined && HISTORY.test(ends.type)) this.#backfill?.end(ends.params[0] ?? "");
    if (history !== undefined) {
      this.#backfill?.collect(history.params[0] ?? "", line, seen);
      return;
    }
    if (line.command === "ERROR") this.#ending = endingOf(line.params.at(-1) ?? "", this.#ending);
    if (this.isWelcome) this.#options.memory.seenUntil = serverTime(line) ?? seen.receivedAt;
    this.#handshake.see(line);
    const isAnswer = this.#joins.see(line);
    if (!isAnswer && this.#speaker.see(line, label, seen.receivedAt)) return;
    if (this.#handshake.registered) this.#happen(line, batch, seen);
  }

  #happen(line: Line, batch: Batch | undefined, seen: Seen): void {
    const before = this.self;
    const isOurs = this.#nickname.isSelf(line.nick);
    const shared = line.command === "QUIT" || line.command === "NICK" ? this.#channels.of(line.nick) : [];
    this.#source.see(line, isOurs);
    this.#channels.see(line);
    this.#follow(line, isOurs);
    this.#news.tell({ line, seen, batch, before, shared });
    if (line.command === "JOIN" && isOurs && !this.#arrived) this.#absence.mend(line.params[0] ?? "");
  }

  /** What changes about ourselves, or is for us to act upon. */
  #follow({ command, params, nick }: Line, isOurs: boolean): void {
    const [first = "", second = "", third = ""] = params;
    switch (command) {
      case "NICK":
        if (isOurs) this.#nickname.is(first);
        else this.#nickname.freed(nick);
        break;
      case "QUIT":
        this.#nickname.freed(nick);
        break;
      case "731":
        for (const free of second.split(",")) this.#nickname.freed(free.split("!")[0] ?? free);
        break;
      case "KICK":
        if (this.#nickname.isSelf(second)) {
          const why = third === "" ? "" : ` (${quoted(third)})`;
          this.#tell(`${nick || "the server"} kicked us from ${first}${why}; join it again to go back`);
        }
        break;
      case "900":
        if (this.isWelcome) this.#joins.again();
        break;
      case "NOTICE":
        if (this.isWelcome) this.#nickserv.heard(nick);
        break;
      case "FAIL":
        if (first === "CHATHISTORY") this.#backfill?.refused(params);
        break;
      case "CHATHISTORY":
        if (first === "TARGETS" && !isChannel(this.#client.facts, second)) this.#absence.mend(second);
        break;
    }
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
    clearTimeout(this.#deadline);
    this.#liveness = new Liveness({
      ...patience,
      ask: () => this.#client.write("PING :alive"),
      onDeaf: () => this.#end(disconnected("the server has stopped answering")),
      isDeafening: () => this.#client.paused,
    });
    const { seenUntil } = memory;
    this.#backfill = new Backfill({
      write: (line) => this.#writer.soon(line),
      emit: (events) => this.#events.put(events),
      eventsOf: (line, seen) => eventsOf(line, this.self, seen),
      conversation: (target) => this.#conversation(target),
      learn: (id) => memory.learn(id),
      seenUntil,
      pageSize: Number(this.#client.token("CHATHISTORY") || 0) || 100,
    });
    memory.gate.restart();
    void this.#arrive();
    this.#absence.askForQueries();
    if (!this.#nickname.isWanted) {
      this.#nickserv.regain();
      this.#nickname.recover(this.#client.token("MONITOR") !== undefined);
    }
    this.#welcome.resolve();
  }

  /** Connected is who is in the channels that are wanted: before that, what is said there would be missed. */
  async #arrive(): Promise<void> {
    const patience = new AbortController();
    const late = delay(this.#options.patience.joinMs, undefined, patience).catch(() => undefined);
    await Promise.race([this.#joins.start(), late]);
    patience.abort();
    this.#arrived = true;
    this.#tell([this.#absence.sentence, ...this.#joins.refusals].filter(Boolean).join("; "));
  }

  /** We are connected, and there is something a person should know. */
  #tell(news: string): void {
    if (this.#over.signal.aborted || !this.#arrived) return;
    const { settings, host } = this.#options;
    const { current, isWanted } = this.#nickname;
    const named = isWanted ? current : `${current}, as ${settings.nick} is taken and asked back`;
    const more = news === "" ? "" : `: ${news}`;
    host.state({ state: "connected", message: `Connected to ${settings.network} as ${named}${more}.` });
  }

  #awaitLastWords(ending: Ending): void {
    this.#ending = ending;
    clearTimeout(this.#deadline);
    this.#deadline = setTimeout(() => this.#end(ending), LAST_WORDS_MS);
  }

  #end(ending: Ending): void {
    if (this.#over.signal.aborted) return;
    this.#ending = ending;
    this.#over.abort();
    clearTimeout(this.#deadline);
    this.#backfill?.close();
    for (const part of [this.#liveness, this.#nickname, this.#handshake, this.#news, this.#joins]) {
      part?.[Symbol.dispose]();
    }
    this.#speaker.end();
    this.#client.destroy();
    this.#welcome.resolve();
    void this.#events.empty().then(() => this.#ended.resolve(ending));
  }
}

function withDrift(event: PlatformEvent, drift: Drift): PlatformEvent {
  const { payload } = event;
  return { ...event, payload: { ...payload, cursor: { ...payload.cursor, ...drift } } };
}

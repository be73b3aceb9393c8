/**
 * One connection of one identity, from the first byte to the last.
 *
 * A line of the server passes, in this order: liveness · history (kept apart: it is not happening now) · handshake,
 * joins and nickname, which answer it · confirmations, which take our own echoes out · the channels' members ·
 * events. What we write passes the flood gate.
 */
import { randomBytes } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import {
  type BridgeState,
  type HistoryRequest,
  type IdentityHost,
  type LinkedIdentity,
  type PlatformEvent,
  type RosterEntry,
  type Said,
  UncertainSend,
  type Window,
} from "@linkspan/daemon-kit";
import { FabricError, isFabricError } from "@linkspan/envelopes";
import { IrcClient } from "../client.ts";
import type { Settings } from "../config.ts";
import { conversationOf, isChannel, nickRef, type Place, placeOf, type Self } from "../conversation.ts";
import { disconnected, type Ending, endingOf, loginRefused, socketEnding } from "../errors.ts";
import { eventsOf, type Line, type Seen, serverTime } from "../inbound.ts";
import { MAX_LINE_BYTES, SOURCE_BYTES, type Write } from "../outbound.ts";
import { type CaseMapping, caseMappingOf, fold } from "../wire/casemapping.ts";
import type { Endpoint } from "../wire/line-socket.ts";
import { Backfill } from "./backfill.ts";
import { type Batch, Batches, within } from "./batches.ts";
import { Channels } from "./channels.ts";
import { Confirmations } from "./confirmations.ts";
import { EventQueue } from "./event-queue.ts";
import { Handshake } from "./handshake.ts";
import { Joins } from "./joins.ts";
import { Liveness } from "./liveness.ts";
import type { Memory } from "./memory.ts";
import { Netsplits, type Servers, splitServers } from "./netsplits.ts";
import { Nickname } from "./nickname.ts";
import { inside, isOpen } from "./window.ts";

/** How patient a connection is, milliseconds. */
export interface Patience {
  readonly connectMs: number;
  readonly registerMs: number;
  /** Silence after which the server is asked for a sign of life, and how long it may take to give one. */
  readonly quietMs: number;
  readonly graceMs: number;
  /** How long NickServ may take to answer a login. */
  readonly identifyMs: number;
  /** How long a netsplit's lines are gathered. */
  readonly splitMs: number;
}

export interface SessionOptions {
  readonly identity: LinkedIdentity;
  readonly settings: Settings;
  readonly endpoint: Endpoint;
  readonly host: IdentityHost;
  readonly memory: Memory;
  readonly patience: Patience;
  /** Credential fields as text; read once, for this connection. */
  readonly secret: (name: string) => string | undefined;
}

const HISTORY = /^(?:draft\/)?chathistory$|^znc\.in\/playback$/;
const MAX_BACKFILL = 5_000;
const MAX_QUERIES = 50;
const QUIT_REASON = "Linkspan";
/** How long a server that refused us may take to say why. */
const LAST_WORDS_MS = 3_000;
/** How long channels may take to answer before we count as connected without them. */
const JOINING_MS = 10_000;

export class Session {
  /** Random: with the line's number it names what the server gives no id. */
  readonly id = randomBytes(9).toString("base64url");
  /** Resolves when the server has welcomed us, or the connection has ended before that. */
  readonly welcome: Promise<void>;
  /** Resolves when the connection is over, with the reason. */
  readonly ended: Promise<Ending>;

  readonly #options: SessionOptions;
  readonly #client: IrcClient;
  readonly #nickname: Nickname;
  readonly #handshake: Handshake;
  readonly #channels: Channels;
  readonly #joins: Joins;
  readonly #batches = new Batches();
  readonly #events: EventQueue;
  #liveness: Liveness | undefined;
  readonly #netsplits: Netsplits;
  /** Where the last connection, or the checkpoint, ends. */
  readonly #gapFrom: Date | undefined;
  readonly #over = new AbortController();
  readonly #welcome = Promise.withResolvers<void>();
  readonly #ended = Promise.withResolvers<Ending>();
  readonly #outbox: string[] = [];
  #deadline: NodeJS.Timeout;
  #confirmations: Confirmations | undefined;
  #backfill: Backfill | undefined;
  #ending: Ending | undefined;
  #caseMapping: CaseMapping = "rfc1459";
  #channelTypes = "#&";
  #statusPrefixes = "";
  #source: string | undefined;
  #lines = 0;
  #writing = false;
  #resumed = Promise.withResolvers<void>();
  #regains = 0;
  #arrived = false;

  constructor(options: SessionOptions) {
    const { settings, host, memory, patience, secret } = options;
    this.#options = options;
    this.welcome = this.#welcome.promise;
    this.ended = this.#ended.promise;
    this.#gapFrom = memory.seenUntil;
    const same = (a: string, b: string) => this.#fold(a) === this.#fold(b);
    const isSelf = (nick: string) => this.#nickname.isSelf(nick);
    const write = (line: string) => this.#writeSoon(line);
    this.#nickname = new Nickname({ wanted: settings.nick, same, write });
    this.#handshake = new Handshake({
      nickname: this.#nickname,
      write: (line) => this.#client.write(line),
      saslWanted: settings.sasl !== undefined,
      identify: this.#identification(),
      service: settings.nickserv?.service ?? "NickServ",
      isChannel: (name) => isChannel(this.self, name),
      same,
      onWelcome: () => this.#onWelcome(),
      identifyTimeoutMs: patience.identifyMs,
      onEnd: (ending) => this.#end(ending),
      onRefused: (ending) => {
        this.#ending = ending;
        clearTimeout(this.#deadline);
        this.#deadline = setTimeout(() => this.#end(ending), LAST_WORDS_MS);
      },
    });
    this.#channels = new Channels({
      fold: (name) => this.#fold(name),
      isSelf,
      memberPrefixes: () => this.#client.memberPrefixes,
    });
    this.#joins = new Joins({
      memory,
      write,
      fold: (name) => this.#fold(name),
      isSelf,
      onRefused: (refusal) => {
        if (this.#arrived) this.#tell(refusal);
      },
    });
    this.#events = new EventQueue({
      deliver: (event) => host.event(event),
      pause: () => {
        this.#resumed = Promise.withResolvers();
        this.#client.pause();
      },
      resume: () => {
        this.#client.resume();
        this.#resumed.resolve();
      },
      onRefused: (error) => {
        if (!host.signal.aborted) host.log.warn({ event: "irc.events_refused", err: error });
        this.#end(disconnected("the core does not take events"));
      },
    });
    this.#netsplits = new Netsplits({
      self: () => this.self,
      emit: (events) => this.#events.put(events),
      quietMs: patience.splitMs,
    });
    this.#deadline = setTimeout(
      () => this.#end(disconnected("the server did not let us in in time")),
      patience.registerMs,
    );
    const { sasl } = settings;
    const password = secret("password");
    this.#client = new IrcClient(
      {
        endpoint: options.endpoint,
        nick: settings.nick,
        username: settings.username ?? usernameOf(settings.nick),
        realname: settings.realname ?? settings.nick,
        serverPassword: secret("server_password"),
        sasl:
          sasl?.mechanism === "EXTERNAL"
            ? { mechanism: "EXTERNAL" }
            : sasl === undefined || password === undefined
              ? undefined
              : { mechanism: "PLAIN", account: sasl.account ?? settings.nick, password },
        withoutCaps: settings.withoutCaps,
      },
      {
        onLine: (line) => this.#onLine(line),
        onLoginFailed: (why, final) => this.#handshake.loginFailed(why, final),
        onClose: (error) => this.#onClose(error),
      },
    );
    if (sasl?.mechanism === "PLAIN" && password === undefined)
      this.#end(loginRefused("there is no password"));
  }

  get self(): Self {
    const { identity, settings } = this.#options;
    return {
      workspaceId: identity.workspaceId,
      identityId: identity.identityId,
      network: settings.network,
      nick: this.#nickname.current,
      account: this.#handshake.account,
      caseMapping: this.#caseMapping,
      channelTypes: this.#channelTypes,
      statusPrefixes: this.#statusPrefixes,
    };
  }

  /** Lines that one text takes; what its parts cost. */
  get linesPerText(): number {
    return this.#confirmations?.linesPerText ?? 2;
  }

  get isWelcome(): boolean {
    return this.#confirmations !== undefined && !this.#over.signal.aborted;
  }

  /** @throws FabricError `platform.*` when it was not written; UncertainSend when it was, and not confirmed */
  async perform(write: Write, key: string, window: Window): Promise<Said> {
    switch (write.do) {
      case "say":
        return this.#say(write, key, window);
      case "join":
        return this.#change(window, () => this.#joins.join({ name: write.channel, key: write.key }));
      case "leave":
        return this.#change(window, () => this.#joins.leave(write.channel, write.reason));
    }
  }

  /** @throws FabricError `platform.unsupported` where the server keeps no history, other `platform.*` */
  async history({ conversation, after, limit }: HistoryRequest): Promise<void> {
    if (this.#backfill === undefined || !this.#hasHistory) {
      throw new FabricError("platform.unsupported", "this server keeps no history");
    }
    await this.#backfill.fetch(placeOf(this.self, conversation).name, after, limit);
    await this.#events.empty();
  }

  roster(): readonly RosterEntry[] {
    const at = (place: Place): string => conversationOf(this.self, place);
    return [
      ...this.#channels.names.map((name) => {
        const ref = at({ kind: "channel", name: this.#fold(name) });
        return { ref, name, kind: "channel" as const };
      }),
      ...this.#channels.members
        .filter((nick) => !this.#nickname.isSelf(nick))
        .map((nick) => ({ ref: nickRef(this.self, nick), name: nick, kind: "contact" as const })),
    ];
  }

  /** Says goodbye. Resolves when the connection is closed and every event of it delivered. */
  async close(withinMs = 2_000): Promise<void> {
    if (!this.#over.signal.aborted) {
      this.#ending ??= disconnected("it was closed");
      this.#client.quit(QUIT_REASON);
      await Promise.race([this.#ended.promise, delay(withinMs)]);
      this.#end(this.#ending);
    }
    await this.#ended.promise;
  }

  async #say(write: Write & { do: "say" }, key: string, window: Window): Promise<Said> {
    const { target } = write;
    if (isChannel(this.self, target)) {
      const ready = this.#joins.ready(target);
      if (ready !== undefined) await inside(window, ready, () => notNow(`${target} has not been joined yet`));
    }
    await this.#turn(this.linesPerText, window);
    const confirmations = this.#confirmations;
    if (confirmations === undefined || !isOpen(window)) throw notNow("the time to say it is over");
    const source = this.#source === undefined ? SOURCE_BYTES : Buffer.byteLength(this.#source) + 1;
    if (source + Buffer.byteLength(` ${write.command} ${target} :${write.text}\r\n`) > MAX_LINE_BYTES) {
      throw new FabricError(
        "platform.too_long",
        "the server would cut it: our address on the network is too long",
      );
    }
    const { lines, said } = confirmations.expect({ ...write, tags: this.#tagsOf(write) }, key);
    let left = false;
    lines.forEach((line, index) => {
      this.#client.write(line, () => {
        if (index === lines.length - 1) left = true;
      });
    });
    try {
      const result = await inside(window, said, () => new UncertainSend("no confirmation came in time"));
      this.#options.memory.learn(result.remoteId);
      return result;
    } catch (error) {
      // What has not left by now must not leave later.
      if (!left && !isOpen(window)) this.#end(disconnected("the server takes nothing any more"));
      this.#slowedBy(error);
      throw error;
    }
  }

  async #change(window: Window, change: () => Promise<void>): Promise<Said> {
    await this.#turn(1, window);
    if (!this.isWelcome || !isOpen(window)) throw notNow("the time to do it is over");
    await inside(window, change(), () => new UncertainSend("the server has not answered in time"));
    this.#lines += 1;
    return { remoteId: `${this.id}.${this.#lines}`, at: new Date() };
  }

  /** Resolves, inside the window, when the server and the flood gate take that many lines at once. */
  async #turn(lines: number, window: Window): Promise<void> {
    for (;;) {
      if (!this.isWelcome) throw notNow("there is no connection");
      if (!isOpen(window)) throw notNow("the time to say it is over");
      if (this.#client.paused) {
        await inside(window, this.#resumed.promise, () => notNow("too much is coming in"));
      } else if (this.#client.pendingBytes > 0) {
        await inside(window, this.#client.flushed(), () => notNow("the server takes nothing just now"));
      } else {
        const waitMs = this.#options.memory.gate.pass(lines);
        if (waitMs === 0) return;
        if (performance.now() + waitMs >= window.untilMs) {
          const detail = "the network's limit of lines is reached";
          throw new FabricError("platform.rate_limited", detail, { retryAfterMs: waitMs });
        }
        await inside(window, delay(waitMs), () => notNow("the time to say it is over"));
      }
    }
  }

  #tagsOf({ replyTo }: Write & { do: "say" }): string[] {
    if (replyTo === undefined || !this.#client.relaysTag("draft/reply")) return [];
    return [`+draft/reply=${tagValue(replyTo)}`];
  }

  #slowedBy(error: unknown): void {
    if (!isFabricError(error) || error.code !== "platform.rate_limited") return;
    this.#options.host.throttle({ reason: error.message, retryAfterMs: error.retryAfterMs ?? 10_000 });
  }

  /** Lines that are no messages: each waits for the gate, in order. */
  #writeSoon(line: string): void {
    this.#outbox.push(line);
    if (!this.#writing) void this.#empty();
  }

  async #empty(): Promise<void> {
    this.#writing = true;
    for (let line = this.#outbox.shift(); line !== undefined; line = this.#outbox.shift()) {
      for (let ms = this.#pass(); ms > 0; ms = this.#pass()) await delay(ms);
      if (this.#over.signal.aborted) break;
      this.#client.write(line);
    }
    this.#writing = false;
  }

  #pass(): number {
    return this.#over.signal.aborted ? 0 : this.#options.memory.gate.pass(1);
  }

  /** Something private, such as a password: it is confirmed like anything, so that its echo is no event. */
  #sayQuietly(target: string, text: string): void {
    const confirmations = this.#confirmations ?? this.#confirming();
    for (const line of confirmations.expect({ command: "PRIVMSG", target, text }, "").lines)
      this.#client.write(line);
  }

  #confirming(): Confirmations {
    this.#confirmations ??= new Confirmations({
      labels: this.#client.has("labeled-response") && this.#client.has("batch"),
      echoes: this.#client.has("echo-message"),
      isSelf: (nick) => this.#nickname.isSelf(nick),
      same: (a, b) => this.#fold(a) === this.#fold(b),
      connection: this.id,
    });
    return this.#confirmations;
  }

  #identification(): (() => void) | undefined {
    const { settings, secret } = this.#options;
    const { nickserv } = settings;
    const password = secret("password");
    if (nickserv === undefined || password === undefined) return undefined;
    const account = nickserv.account ?? settings.sasl?.account;
    return () => {
      const words = ["IDENTIFY", ...(account === undefined ? [] : [account]), password];
      this.#sayQuietly(nickserv.service, words.join(" "));
    };
  }

  #regain(): void {
    const { settings, secret } = this.#options;
    const { nickserv } = settings;
    const password = secret("password");
    if (nickserv === undefined || nickserv.recover === "none" || password === undefined) return;
    this.#sayQuietly(nickserv.service, `${nickserv.recover} ${settings.nick} ${password}`);
  }

  #onLine(line: Line): void {
    this.#lines += 1;
    const seen: Seen = { connection: this.id, line: this.#lines, receivedAt: new Date() };
    this.#liveness?.heard();
    if (line.command === "005") this.#learnNetwork();
    const batch = this.#batches.of(line);
    const history = within(batch, HISTORY);
    const label = this.#batches.labelOf(line);
    const { ends } = this.#batches.see(line);
    if (ends !== undefined && HISTORY.test(ends.type)) this.#backfill?.end(ends.params[0] ?? "");
    if (history !== undefined) {
      this.#backfill?.collect(history.params[0] ?? "", line, seen);
      return;
    }
    if (line.command === "CHATHISTORY") this.#queryMissed(line);
    if (line.command === "ERROR") this.#ending = endingOf(line.params.at(-1) ?? "", this.#ending);
    if (this.isWelcome) this.#options.memory.seenUntil = serverTime(line) ?? seen.receivedAt;
    this.#handshake.see(line);
    if (!this.#joins.see(line) && this.#confirmations?.see(line, label, seen.receivedAt) === true) return;
    this.#happen(line, batch, seen);
  }

  #happen(line: Line, batch: Batch | undefined, seen: Seen): void {
    const before = this.self;
    const isMine = this.#nickname.isSelf(line.nick);
    if (isMine && line.user !== "" && line.host !== "") this.#source = line.prefix;
    const shared = line.command === "QUIT" || line.command === "NICK" ? this.#channels.of(line.nick) : [];
    this.#channels.see(line);
    this.#follow(line, isMine);
    if (!this.#handshake.registered || this.#isOfSplit(line, batch, shared, seen)) return;
    const events = this.#wanted(eventsOf(line, before, seen, shared), line, isMine);
    const { msgid } = line.tags;
    if (events.length > 0 && msgid !== undefined) this.#options.memory.learn(msgid);
    for (const event of events) this.#emit(event);
    this.#topicOf(line, seen);
    if (line.command === "JOIN" && isMine) this.#joined(line.params[0] ?? "");
  }

  /** What changes about ourselves, or is for us to act upon. */
  #follow({ command, params, nick, host, user }: Line, isMine: boolean): void {
    const [first = "", second = "", third = ""] = params;
    switch (command) {
      case "NICK":
        if (isMine) this.#nickname.is(first);
        else this.#nickname.freed(nick);
        break;
      case "QUIT":
        this.#nickname.freed(nick);
        break;
      case "731":
        for (const free of second.split(",")) this.#nickname.freed(free.split("!")[0] ?? free);
        break;
      case "396":
        if (this.#source !== undefined) this.#source = `${this.#source.split("@")[0]}@${second}`;
        break;
      case "CHGHOST":
        if (isMine) this.#source = `${nick}!${first || user}@${second || host}`;
        break;
      case "KICK":
        if (this.#nickname.isSelf(second)) {
          this.#tell(
            `${nick} kicked us from ${first}${third === "" ? "" : ` (${third})`}; join it again to go back`,
          );
        }
        break;
      case "NOTICE":
        this.#retake(nick);
        break;
      case "FAIL":
        if (first === "CHATHISTORY") this.#backfill?.refused({ params } as Line);
        break;
    }
  }

  /** NickServ answered something while our nickname is not ours: it may be free by now. */
  #retake(nick: string): void {
    const { nickserv, nick: wanted } = this.#options.settings;
    if (nickserv === undefined || this.#nickname.isWanted || !this.isWelcome || this.#regains >= 3) return;
    if (this.#fold(nick) !== this.#fold(nickserv.service)) return;
    this.#regains += 1;
    this.#writeSoon(`NICK ${wanted}`);
  }

  #isOfSplit(line: Line, batch: Batch | undefined, shared: readonly string[], seen: Seen): boolean {
    if (this.#options.settings.membership !== "all") return false;
    if (line.command === "QUIT") {
      const [left, right] = within(batch, /^netsplit$/)?.params ?? [];
      const named: Servers | undefined =
        left !== undefined && right !== undefined ? [left, right] : undefined;
      return this.#netsplits.quit(line.nick, named ?? splitServers(line.params[0] ?? ""), shared, seen);
    }
    return line.command === "JOIN" && this.#netsplits.join(line.nick, this.#fold(line.params[0] ?? ""), seen);
  }

  #wanted(events: readonly PlatformEvent[], line: Line, isMine: boolean): readonly PlatformEvent[] {
    const { membership } = this.#options.settings;
    if (membership === "all") return events;
    const own = isMine || (line.command === "KICK" && this.#nickname.isSelf(line.params[1] ?? ""));
    return events.filter(({ payload }) => payload.kind !== "membership" || (membership === "own" && own));
  }

  #emit(event: PlatformEvent): void {
    if (this.#backfill?.hold(event) !== true) this.#events.put([event]);
  }

  /** The topic that a channel has when we come in is news only if it changed while we were away. */
  #topicOf(line: Line, seen: Seen): void {
    const { topics } = this.#options.memory;
    const isTopic = line.command === "TOPIC";
    if (!isTopic && line.command !== "332") return;
    const [channel = "", topic = ""] = isTopic ? line.params : line.params.slice(1);
    const key = this.#fold(channel);
    if (!isTopic && topics.get(key) !== topic) {
      const told: Line = { ...line, command: "TOPIC", params: [channel, topic] };
      this.#events.put(eventsOf(told, this.self, seen));
    }
    topics.set(key, topic);
  }

  #joined(channel: string): void {
    if (this.#gapFrom !== undefined && this.#hasHistory && this.#options.memory.wants(channel)) {
      this.#closeGap(channel, this.#gapFrom);
    }
  }

  /** `CHATHISTORY TARGETS <nick> <time>`: a query in which something was said meanwhile. */
  #queryMissed({ params }: Line): void {
    const [what, target = ""] = params;
    if (what !== "TARGETS" || this.#gapFrom === undefined || isChannel(this.self, target)) return;
    this.#closeGap(target, this.#gapFrom);
  }

  #closeGap(target: string, from: Date): void {
    this.#backfill?.since(target, from, MAX_BACKFILL).catch((error: unknown) => {
      this.#options.host.log.warn({ event: "irc.gap_open", err: error });
      this.#tell(`what was said in ${target} since ${from.toISOString()} could not be fetched`);
    });
  }

  #conversation(target: string): string {
    const kind = isChannel(this.self, target) ? "channel" : "query";
    return conversationOf(this.self, { kind, name: this.#fold(target) });
  }

  get #hasHistory(): boolean {
    return this.#client.has("draft/chathistory") || this.#client.has("chathistory");
  }

  #learnNetwork(): void {
    this.#caseMapping = caseMappingOf(this.#client.token("CASEMAPPING"));
    this.#channelTypes = this.#client.token("CHANTYPES") ?? "#&";
    this.#statusPrefixes = this.#client.token("STATUSMSG") ?? "";
  }

  #fold(name: string): string {
    return fold(name, this.#caseMapping);
  }

  #onWelcome(): void {
    clearTimeout(this.#deadline);
    this.#liveness = new Liveness({
      quietMs: this.#options.patience.quietMs,
      graceMs: this.#options.patience.graceMs,
      ask: () => this.#client.write("PING :alive"),
      onDeaf: () => this.#end(disconnected("the server has stopped answering")),
      isDeafening: () => this.#client.paused,
    });
    this.#confirming();
    this.#backfill = new Backfill({
      write: (line) => this.#writeSoon(line),
      emit: (events) => this.#events.put(events),
      eventsOf: (line, seen) => eventsOf(line, this.self, seen),
      conversation: (target) => this.#conversation(target),
      learn: (id) => this.#options.memory.learn(id),
      seenUntil: () => this.#gapFrom,
      pageSize: Number(this.#client.token("CHATHISTORY") || 0) || 100,
    });
    this.#options.memory.gate.restart();
    void this.#arrive();
    if (this.#gapFrom !== undefined && this.#hasHistory) {
      const [from, until] = [this.#gapFrom, new Date()].map((moment) => `timestamp=${moment.toISOString()}`);
      this.#writeSoon(`CHATHISTORY TARGETS ${from} ${until} ${MAX_QUERIES}`);
    }
    if (!this.#nickname.isWanted) {
      this.#regain();
      this.#nickname.recover(this.#client.token("MONITOR") !== undefined);
    }
    this.#welcome.resolve();
  }

  /** Connected is who is in the channels that are wanted: before that, what is said there would be missed. */
  async #arrive(): Promise<void> {
    const patience = new AbortController();
    await Promise.race([this.#joins.start(), delay(JOINING_MS, undefined, patience).catch(() => undefined)]);
    patience.abort();
    const refusals = this.#joins.refusals;
    this.#tell([this.#gap(), ...refusals].filter(Boolean).join("; "));
    this.#arrived = true;
  }

  #gap(): string {
    const from = this.#gapFrom;
    if (from === undefined) return "";
    const since = from.toISOString();
    return this.#hasHistory
      ? `what was said since ${since} is fetched from the server's history`
      : `this server keeps no history, so what was said between ${since} and ${new Date().toISOString()} is missing`;
  }

  /** We are connected, and there is something a person should know. */
  #tell(news: string): void {
    const { settings, host } = this.#options;
    const nick = this.#nickname.current;
    const named = this.#nickname.isWanted ? nick : `${nick}, as ${settings.nick} is taken and asked back`;
    const more = news === "" ? "" : `: ${news}`;
    const state: BridgeState = {
      state: "connected",
      message: `Connected to ${settings.network} as ${named}${more}.`,
    };
    if (!this.#over.signal.aborted) host.state(state);
  }

  #onClose(error: Error | undefined): void {
    this.#end(this.#ending ?? socketEnding(error, this.#options.settings.host));
  }

  #end(ending: Ending): void {
    if (this.#over.signal.aborted) return;
    this.#ending = ending;
    this.#over.abort();
    clearTimeout(this.#deadline);
    this.#liveness?.[Symbol.dispose]();
    this.#nickname[Symbol.dispose]();
    this.#handshake[Symbol.dispose]();
    this.#backfill?.close();
    this.#netsplits[Symbol.dispose]();
    this.#joins[Symbol.dispose]();
    this.#confirmations?.end();
    this.#resumed.resolve();
    this.#client?.destroy();
    this.#welcome.resolve();
    this.#events.empty().then(
      () => this.#ended.resolve(ending),
      () => this.#ended.resolve(ending),
    );
  }
}

function notNow(detail: string): FabricError {
  return new FabricError("platform.unavailable", detail);
}

/** Letters and digits of a nickname; servers take no others before the host. */
function usernameOf(nick: string): string {
  return nick.replace(/[^A-Za-z0-9]/g, "").slice(0, 10) || "user";
}

const ESCAPES: Readonly<Record<string, string>> = {
  ";": "\\:",
  " ": "\\s",
  "\\": "\\\\",
  "\r": "\\r",
  "\n": "\\n",
};

function tagValue(value: string): string {
  return value.replaceAll("\0", "").replace(/[; \\\r\n]/g, (character) => ESCAPES[character] ?? "");
}

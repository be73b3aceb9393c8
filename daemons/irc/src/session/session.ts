/**
 * One connection of one identity, from the first byte to the last.
 *
 *   registering → welcome → joined, which counts as connected → over
 *
 * Whatever ends it (the server, the socket, a timer, the core, a fault of ours) ends it once, with one reason.
 */
import { randomBytes } from "node:crypto";
import type { HistoryRequest, RosterEntry, Said, Window } from "@linkspan/daemon-kit";
import { FabricError, isFabricError } from "@linkspan/envelopes";
import { conversationOf, nickRef, placeOf, type Self } from "../conversation.ts";
import { broken, disconnected, type Ending, endingOf, socketEnding } from "../errors.ts";
import { loginRefused, loginUnavailable } from "../logins.ts";
import type { Write } from "../outbound.ts";
import { Refusal } from "../refusals.ts";
import { Lines } from "./lines.ts";
import type { SessionOptions } from "./options.ts";
import { type Parts, partsOf } from "./parts.ts";
import { Timers } from "./timers.ts";

const QUIT_REASON = "Linkspan";
/** Time that a server which refused us has to send the reason. */
const REASON_MS = 3_000;

export class Session {
  /** Random: with the line's number it identifies events to which the server gives no id. */
  readonly id = randomBytes(9).toString("base64url");
  /** Resolves when the server has welcomed us, or the connection has ended before that. */
  readonly welcome: Promise<void>;
  /** Resolves when the connection is over, with the reason. */
  readonly ended: Promise<Ending>;

  readonly #options: SessionOptions;
  readonly #over = new AbortController();
  readonly #welcome = Promise.withResolvers<void>();
  readonly #ended = Promise.withResolvers<Ending>();
  readonly #timers: Timers;
  readonly #parts: Parts;
  readonly #lines: Lines;
  #cancelDeadline: () => void;
  #ending: Ending | undefined;

  constructor(options: SessionOptions) {
    const { settings, memory, patience, secret } = options;
    this.#options = options;
    this.welcome = this.#welcome.promise;
    this.ended = this.#ended.promise;
    this.#timers = new Timers(options.clock, (work) => this.#guard(work), this.#over.signal);
    this.#parts = partsOf(options, this.id, this.#timers, {
      onLine: (line) => this.#lines.take(line),
      onClose: (error) => this.#end(this.#ending ?? socketEnding(error, settings.host)),
      onWelcome: () => this.#onWelcome(),
      onRefused: (ending) => this.#awaitReason(ending),
      end: (ending) => this.#end(ending),
    });
    this.#lines = new Lines({
      parts: this.#parts,
      memory,
      timers: this.#timers,
      connection: this.id,
      onError: (words) => {
        this.#ending = endingOf(words, this.#ending);
      },
    });
    this.#cancelDeadline = this.#timers.after(patience.registerMs, () => this.#onLate());
    if (settings.sasl?.mechanism === "PLAIN" && secret("password") === undefined) {
      this.#end(loginRefused("there is no password"));
    }
  }

  get self(): Self {
    return this.#parts.names.self;
  }

  /** Lines that one text takes; what its parts cost. */
  get linesPerText(): number {
    return this.#parts.speaker.linesPerText;
  }

  get isWelcome(): boolean {
    return this.#parts.isWelcome();
  }

  /** @throws FabricError `platform.*` when it was not written; UncertainSend when it was, and not confirmed */
  async perform(write: Write, key: string, window: Window): Promise<Said> {
    const { memory, host } = this.#options;
    try {
      const said = await this.#parts.speaker.perform(write, key, window);
      memory.learn(said.remoteId);
      if (write.do === "join" && write.key !== undefined) await this.#keepKey(write.channel, write.key);
      if (write.do === "leave") await this.#keepKey(write.channel, undefined);
      return said;
    } catch (error) {
      // A refusal that concerns one channel or person slows nothing else down.
      const isWide = !(error instanceof Refusal) || error.scope === "identity";
      if (isFabricError(error) && error.code === "platform.rate_limited" && isWide) {
        host.throttle({ reason: error.message, retryAfterMs: error.retryAfterMs ?? 0 });
      }
      throw error;
    }
  }

  /** @throws FabricError `platform.unsupported` where the server keeps no history, other `platform.*` */
  async history({ conversation, after, limit }: HistoryRequest): Promise<void> {
    const { backfill, channels, client, events } = this.#parts;
    if (!this.#parts.handshake.isWelcome || !client.hasHistory) {
      throw new FabricError("platform.unsupported", "this server keeps no history");
    }
    const target = channels.spelled(placeOf(this.self, conversation).name);
    await backfill.fetch(target, after, limit);
    await events.empty();
  }

  roster(): readonly RosterEntry[] {
    const { self } = this;
    const { names, channels } = this.#parts;
    const rooms = channels.names.map((name): RosterEntry => {
      return {
        ref: conversationOf(self, { kind: "channel", name: names.fold(name) }),
        name,
        kind: "channel",
      };
    });
    const others = channels.members.filter((nick) => !names.isSelf(nick));
    const contacts = others.map((name): RosterEntry => ({ ref: nickRef(self, name), name, kind: "contact" }));
    return [...rooms, ...contacts];
  }

  /** Says goodbye. Resolves when the connection is closed and every event of it delivered. */
  async close(withinMs = 2_000): Promise<void> {
    if (!this.#over.signal.aborted) {
      const ending = (this.#ending ??= disconnected("it was closed"));
      this.#parts.client.quit(QUIT_REASON);
      await Promise.race([this.#ended.promise, this.#timers.sleep(withinMs)]);
      this.#end(ending);
    }
    await this.#ended.promise;
  }

  async #keepKey(channel: string, key: string | undefined): Promise<void> {
    const fault = await this.#options.keepKey(channel, key);
    if (fault !== undefined) this.#parts.status.report(fault);
  }

  /** Runs work that a timer or the socket calls. The kit handles a fault of ours: it opens the connection again, later. */
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

  #onLate(): void {
    const { client, handshake } = this.#parts;
    const isLogin = client.has("sasl") && !handshake.isLoggedIn;
    this.#end(
      isLogin
        ? loginUnavailable("it got no answer in time")
        : disconnected("the server did not let us in in time"),
    );
  }

  #onWelcome(): void {
    const { absence, following, liveness } = this.#parts;
    this.#cancelDeadline();
    liveness.start();
    this.#options.memory.gate.restart();
    if (this.#options.linking !== true) {
      this.#arrive().catch((error: unknown) => {
        this.#guard(() => {
          throw error;
        });
      });
      absence.askForQueries();
      following.askNicknameBack();
    }
    this.#welcome.resolve();
  }

  /** Connected is who is in the channels that are wanted: before that, what is said there would be missed. */
  async #arrive(): Promise<void> {
    const { absence, joins, status } = this.#parts;
    const late = Promise.withResolvers<void>();
    const cancel = this.#timers.after(this.#options.patience.joinMs, late.resolve);
    await Promise.race([joins.start(), late.promise]);
    cancel();
    status.connected([absence.sentence, ...joins.notices]);
  }

  #awaitReason(ending: Ending): void {
    this.#ending = ending;
    this.#cancelDeadline();
    this.#cancelDeadline = this.#timers.after(REASON_MS, () => this.#end(ending));
  }

  #end(ending: Ending): void {
    if (this.#over.signal.aborted) return;
    this.#ending = ending;
    this.#over.abort();
    const { backfill, client, events, joins, keyChanges, live, speaker } = this.#parts;
    const steps = [
      () => backfill.close(),
      () => live[Symbol.dispose](),
      () => joins[Symbol.dispose](),
      () => keyChanges.flush(),
      () => speaker.end(),
    ];
    // A step that fails must not keep the connection from ending.
    for (const step of steps) {
      try {
        step();
      } catch (error) {
        this.#options.host.log.error({ event: "irc.failed", err: error });
      }
    }
    client.destroy();
    this.#welcome.resolve();
    const over = () => this.#ended.resolve(ending);
    events.empty().then(over, over);
  }
}

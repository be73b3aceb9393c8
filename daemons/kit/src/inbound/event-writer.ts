/**
 * Takes the inbound events of one identity: signs them, puts them on the stream, and keeps unacknowledged
 * ones for the next term when this one is lost.
 */
import { isFabricError, MAX_CURSOR_BYTES } from "@linkspan/envelopes";
import type { Outgoing } from "@linkspan/fabric";
import type { Logger } from "pino";
import type { Author } from "../bus/author.ts";
import type { LinkedIdentity, PlatformEvent } from "../connector.ts";
import type { Carried } from "./carried.ts";
import type { EventStream } from "./event-stream.ts";

export interface EventWriterOptions {
  readonly identity: LinkedIdentity;
  readonly stream: EventStream;
  readonly author: Author;
  readonly carried: Carried;
  readonly log: Logger;
  /** Aborted when the term ends. */
  readonly signal: AbortSignal;
}

export class EventWriter {
  readonly #options: EventWriterOptions;
  /** Events of an earlier term that are not on the stream of this term yet. */
  #earlier: PlatformEvent[];

  constructor(options: EventWriterOptions) {
    this.#options = options;
    this.#earlier = options.carried.take(options.identity.identityId);
  }

  /**
   * Resolves once the event has its place in the window. An event that does not fit an envelope is logged and
   * left out: it must not stop the stream.
   *
   * @throws TypeError for another identity's event
   */
  async take(event: PlatformEvent): Promise<void> {
    const { identity, stream } = this.#options;
    if (event.payload.account !== identity.identityId) {
      throw new TypeError("an event must name the identity that saw it as its account");
    }
    const fitting = this.#withFittingCursor(event);
    const message = this.#written(fitting);
    if (message !== undefined) await stream.put(message, fitting.payload.cursor, fitting);
  }

  /** Events that an earlier term of this process did not finish go first. */
  async carryOn(): Promise<void> {
    const { signal } = this.#options;
    while (this.#earlier.length > 0 && !signal.aborted) {
      const event = this.#earlier.shift() as PlatformEvent;
      await this.take(event).catch((error: unknown) => {
        if (!signal.aborted) throw error;
      });
    }
  }

  /** The term was lost: events that the core has not acknowledged are kept for the next one. */
  carryOver(): void {
    const { carried, identity, stream } = this.#options;
    carried.keep(identity.identityId, [...stream.left(), ...this.#earlier]);
    this.#earlier = [];
  }

  /**
   * A cursor that is too large for the answer of `resume` is ignored: reading starts at an earlier cursor,
   * and nothing is lost.
   */
  #withFittingCursor(event: PlatformEvent): PlatformEvent {
    const { cursor, ...payload } = event.payload;
    if (cursor === undefined || Buffer.byteLength(JSON.stringify(cursor)) <= MAX_CURSOR_BYTES) return event;
    this.#options.log.error({ event: "cursor.refused", code: "envelope.too_large", kind: payload.kind });
    return { ...event, payload };
  }

  #written(event: PlatformEvent): Outgoing | undefined {
    const { author, identity, log } = this.#options;
    try {
      return author.event(identity, event);
    } catch (error) {
      if (!isFabricError(error)) throw error;
      log.error({ event: "event.refused", code: error.code, kind: event.payload.kind, err: error });
      return undefined;
    }
  }
}

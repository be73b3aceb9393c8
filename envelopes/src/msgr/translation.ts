/** The members of a translation of an outbound action. */
import { FabricError } from "../errors/errors.ts";
import type { Members } from "../payloads/members.ts";

/** Where it is sent, and the key that the platform may know it by. */
export interface Place {
  readonly messageId: string;
  /** The conversation's last segment; undefined for an action without a conversation. */
  readonly name: string | undefined;
  /** A conversation that only its account sees. */
  readonly isPrivate: boolean;
}

export interface Translation {
  /** @throws FabricError `action.unsupported` for what Msgr's form cannot hold */
  toMsgr(canonical: Members, place: Place): Members;
  /** @throws FabricError `action.unsupported` for what the canonical form cannot hold */
  toCanonical(msgr: Members, place: Place): Members;
}

/** @throws FabricError `action.unsupported` */
export function nameOf({ name }: Place): string {
  if (name === undefined) throw without("the action names no conversation");
  return name;
}

export function without(why: string): FabricError {
  return new FabricError("action.unsupported", why);
}

/** Files are content: a form without a place for them is none. @throws FabricError `action.unsupported` */
export function requireNoMedia({ media }: Members): void {
  if (media === undefined || (Array.isArray(media) && media.length === 0)) return;
  throw without("the daemon's form holds no media");
}

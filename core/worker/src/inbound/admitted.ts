/** The result of the checks of an incoming envelope, and what it names. */
import type { CanonicalEvent, FabricError, Opened } from "@linkspan/envelopes";
import type { Delivery } from "@linkspan/fabric";

export interface Admitted {
  readonly delivery: Delivery;
  readonly opened: Opened;
  /** The platform event in its canonical form, whatever name the daemon used; absent for everything else. */
  readonly event?: CanonicalEvent;
  /** For a member of a history: the batch that contained it. */
  readonly batch?: Admitted;
}

export type Admission = Admitted & {
  readonly refused?: FabricError;
  /** Of the reports in the envelope, those that are refused, by their place; the others are admitted. */
  readonly refusedMembers?: ReadonlyMap<number, FabricError>;
};

/** The account that the envelope names, if any. */
export function accountNamed({ opened, event }: Admitted): string | undefined {
  const { account } = event?.payload ?? opened.envelope.payload;
  return typeof account === "string" ? account : opened.envelope.metadata.identity_id;
}

export function conversationsIn({ opened, event }: Admitted): string[] {
  const { metadata, payload } = opened.envelope;
  const named = [metadata.conversation, event?.conversation, payload.conversation];
  return [...new Set(named.filter((one) => typeof one === "string"))];
}

/**
 * The owner of a private conversation. A conversation that only one account can see starts with `~<account>`;
 * its other segments are names of the platform.
 */
export function privateOwnerOf(conversation: string): string | undefined {
  if (!conversation.includes("/~")) return undefined;
  const segment = conversation.split("/").find((part, index) => index > 5 && part.startsWith("~"));
  return segment === undefined ? undefined : decoded(segment.slice(1));
}

/** A segment that is not UTF-8 names no account; the check of references refuses it. */
function decoded(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment;
  }
}

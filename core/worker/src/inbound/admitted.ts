/** What became of an envelope on its way in, and what it names. */
import type { CanonicalEvent, FabricError, Opened } from "@linkspan/envelopes";
import type { Delivery } from "@linkspan/fabric";

export interface Admitted {
  readonly delivery: Delivery;
  readonly opened: Opened;
  /** The platform event in its canonical form, whatever name it came under; absent on everything else. */
  readonly event?: CanonicalEvent;
  /** Of a member of a history: what it came in. */
  readonly batch?: Admitted;
}

export type Admission = Admitted & { readonly refused?: FabricError };

/** The account that it is about, if it names one. */
export function accountNamed({ opened, event }: Admitted): string | undefined {
  const { account } = event?.payload ?? opened.envelope.payload;
  return typeof account === "string" ? account : opened.envelope.metadata.identity_id;
}

export function conversationsIn({ opened, event }: Admitted): string[] {
  const { metadata, payload } = opened.envelope;
  const named = [metadata.conversation, event?.conversation, payload.conversation];
  return [...new Set(named.filter((one) => typeof one === "string"))];
}

/** A conversation that only one account can see names it as `~<account>`; the rest of its segments are remote. */
export function privateOwnerOf(conversation: string): string | undefined {
  const segment = conversation.split("/").find((part, index) => index > 5 && part.startsWith("~"));
  return segment === undefined ? undefined : decoded(segment.slice(1));
}

/** What is no UTF-8 names nobody's account; the check of references refuses it. */
function decoded(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment;
  }
}

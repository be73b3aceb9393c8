/** The identity of a bus client, and its reply address. */
import { FabricError, PRIMARY } from "@linkspan/envelopes";
import type { ReplyAddress } from "./bus.ts";

export interface Peer {
  readonly service: string;
  /** Default `primary`. */
  readonly instance?: string;
  /** One per process start, `[A-Za-z0-9_-]{1,64}`. */
  readonly bootId: string;
}

const ADDRESS = /^reply\.[a-z][a-z0-9_]{0,31}\.(_|[a-z0-9][a-z0-9_-]{0,62})\.[A-Za-z0-9_-]{1,64}$/;

/** `reply.<service>.<instance|_>.<boot id>`. @throws FabricError `topic.malformed` */
export function replyAddress({ service, instance = PRIMARY, bootId }: Peer): ReplyAddress {
  return checkedAddress(`reply.${service}.${instance === PRIMARY ? "_" : instance}.${bootId}`);
}

/**
 * A return address comes from the wire: nothing but an address may be published to.
 *
 * @throws FabricError `topic.malformed`
 */
export function checkedAddress(text: string): ReplyAddress {
  if (!isReplyAddress(text)) throw new FabricError("topic.malformed", "not a return address");
  return text;
}

export function isReplyAddress(text: string): boolean {
  return ADDRESS.test(text);
}

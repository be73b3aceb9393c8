/** One publish on its way, until it is decided: confirmed, refused, or called off by whoever waits for it. */
import { FabricError } from "@linkspan/envelopes";
import type { Lane } from "./lane.ts";
import type { Encoded } from "./wire.ts";

export interface Sending extends Omit<Encoded, "content"> {
  /** Empty once nobody waits for it. */
  content: Buffer;
  /** Bytes that it counts for, whatever `content` is now. */
  readonly size: number;
  /** Rises with every publish. */
  readonly order: number;
  readonly lane: Lane<Sending>;
  readonly onWritten: (() => void) | undefined;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
  sentAt: number;
  /** The broker had no queue for it. */
  returned: boolean;
  /** Its publisher does not wait any more. */
  over: boolean;
}

/** In place of bytes that nobody waits for. */
const NOTHING = Buffer.alloc(0);

export function newSending(
  { key, content, options, destination }: Encoded,
  place: Pick<Sending, "lane" | "order" | "onWritten" | "resolve" | "reject">,
): Sending {
  const rest = { sentAt: 0, returned: false, over: false };
  return { key, content, size: content.length, options, destination, ...place, ...rest };
}

/** Settles its promise; call it once. */
export function settleSending(sending: Sending, error: FabricError | undefined): void {
  sending.over = true;
  sending.content = NOTHING;
  if (error === undefined) sending.resolve();
  else sending.reject(error);
}

/** @param callOff decides the sending; called when the signal is aborted first. Over at once if it is aborted already */
export function abortable(
  plain: Sending,
  signal: AbortSignal,
  callOff: (sending: Sending, error: FabricError) => void,
): Sending {
  const giveUp = (): void => callOff(sending, calledOff());
  const settle = (run: () => void): void => {
    signal.removeEventListener("abort", giveUp);
    run();
  };
  const sending: Sending = {
    ...plain,
    resolve: () => settle(plain.resolve),
    reject: (error) => settle(() => plain.reject(error)),
  };
  if (signal.aborted) {
    sending.over = true;
    sending.reject(calledOff());
  } else signal.addEventListener("abort", giveUp, { once: true });
  return sending;
}

function calledOff(): FabricError {
  return new FabricError("bus.timeout", "the publish was called off");
}

export function unroutable(key: string): FabricError {
  return new FabricError("bus.unroutable", `no queue takes ${key}`);
}

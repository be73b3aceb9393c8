/** Signed events as a daemon would send them: about 700 bytes each, over many conversations. */
import {
  encode,
  type Envelope,
  eventId,
  type KeyRecord,
  type Route,
  routeOf,
  type Signer,
  signerFromSeed,
  timestamp,
  toBase64url,
  traceIdOf,
} from "@linkspan/envelopes";

export const WORKSPACE = "bench";
export const ACCOUNT = "6f1cbb9e-7a53-4c55-9d8e-2f1f3c0d9a11";
export const PARTITIONS = 8;

export interface Signed {
  readonly body: Uint8Array;
  readonly kid: string;
  readonly sig: string;
  readonly route: Route;
  readonly messageId: string;
}

export const signer: Signer = signerFromSeed(new Uint8Array(32).fill(7));

export const record: KeyRecord = {
  kid: signer.kid,
  public_key_b64u: toBase64url(signer.publicKey),
  issuers: ["daemon:irc:primary"],
  purposes: ["envelope"],
  services: ["irc"],
  workspaces: ["*"],
  not_before: "2026-01-01T00:00:00.000Z",
  not_after: "2036-01-01T00:00:00.000Z",
};

const WORDS = "the quick brown fox jumps over a lazy dog while ünïcödé watches from the bridge".split(" ");

/** @param run makes the ids of one run differ from another's */
export function corpus(count: number, run: string): Signed[] {
  return Array.from({ length: count }, (_, index) => signedEvent(index, run));
}

function signedEvent(index: number, run: string): Signed {
  const at = timestamp(new Date());
  const conversation = `msgr://channels/${WORKSPACE}/bridge/irc/libera/%23room${index % 40}`;
  const remoteId = `${run}.${index}`;
  const messageId = eventId({
    workspace: WORKSPACE,
    service: "irc",
    home: "primary",
    account: ACCOUNT,
    kind: "message",
    remoteId,
    revision: "0",
  });
  const envelope: Envelope = {
    schema: "msgr.bridge.v1",
    service: "irc",
    action: "inbound_event",
    trace_id: traceIdOf(messageId),
    occurred_at: at,
    metadata: {
      issuer: "daemon:irc:primary",
      workspace_id: WORKSPACE,
      instance: "primary",
      message_id: messageId,
      conversation,
    },
    payload: {
      kind: "message",
      remote_id: remoteId,
      revision: "0",
      account: ACCOUNT,
      sender: { ref: "msgr://identity/bridges/irc/libera/peer", name: "peer", is_self: false },
      sent_at: at,
      text: Array.from({ length: 14 }, (_, word) => WORDS[(index + word * 3) % WORDS.length]).join(" "),
      cursor: { connection: run, line: index },
      native: { command: "PRIVMSG" },
    },
  };
  return { ...encode(envelope, signer), route: routeOf(envelope, PARTITIONS), messageId };
}

/** Envelopes, keys and a clock for the tests of this package. */
import type { Envelope, KeyRecord, Metadata } from "./index.ts";
import { encode, type Signed, type Signer, signerFromSeed } from "./codec/sign.ts";
import { canonical } from "./codec/canonical.ts";
import { FabricError } from "./errors/errors.ts";
import { ENVELOPE_TYPE } from "./codec/pae.ts";
import { toBase64url } from "./codec/base64url.ts";

export const NOW = new Date("2026-11-20T12:00:00.000Z");
export const daemon = signerFromSeed(new Uint8Array(32).fill(7));
export const coreSigner = signerFromSeed(new Uint8Array(32).fill(9));

export function recordOf(signer: Signer, changes: Partial<KeyRecord> = {}): KeyRecord {
  return {
    kid: signer.kid,
    public_key_b64u: toBase64url(signer.publicKey),
    issuers: ["daemon:irc:libera"],
    purposes: ["envelope"],
    services: ["irc"],
    workspaces: ["*"],
    not_before: "2026-01-01T00:00:00.000Z",
    not_after: "2036-01-01T00:00:00.000Z",
    ...changes,
  };
}

export const records: readonly KeyRecord[] = [
  recordOf(daemon),
  recordOf(coreSigner, { issuers: ["core"], services: ["*"] }),
];

export const event: Envelope = {
  schema: "msgr.bridge.v1",
  service: "irc",
  action: "inbound_event",
  trace_id: "cb91ac56-21e2-84f1-ba61-da0b4213d5bc",
  occurred_at: "2026-11-20T11:34:58.123Z",
  metadata: {
    issuer: "daemon:irc:libera",
    workspace_id: "ten-9",
    instance: "libera",
    message_id: "y5GsViHihPG6YdoLQhPVvGQYUlTm-LJjGLfSs5Rb1Ko",
    conversation: "msgr://channels/ten-9/bridge/irc/libera/%23linkspan",
  },
  payload: {
    kind: "message",
    remote_id: "r1",
    revision: "0",
    account: "acct1",
    sender: { ref: "msgr://identity/bridges/irc/libera/alice", name: "alice", is_self: false },
    sent_at: "2026-11-20T11:34:58.123Z",
    text: "hello",
    native: { command: "PRIVMSG" },
  },
};

interface Changes extends Partial<Omit<Envelope, "metadata">> {
  readonly metadata?: Partial<Metadata>;
}

/** The sample event with other members. */
export function eventWith(changes: Changes): Envelope {
  return { ...event, ...changes, metadata: { ...event.metadata, ...changes.metadata } };
}

/** An envelope from the core to the daemon, or of the fabric itself. */
export function coreEnvelope(
  service: string,
  action: string,
  payload: Envelope["payload"],
  metadata: Partial<Metadata> = {},
): Envelope {
  const { conversation: _none, ...rest } = event.metadata;
  return { ...event, service, action, payload, metadata: { ...rest, issuer: "core", ...metadata } };
}

/** Signs whatever it is given, also what `encode` would refuse. */
export function signAnything(value: unknown, signer: Signer = daemon): Signed {
  return signBytes(canonical(value), signer);
}

export function signBytes(body: Uint8Array, signer: Signer = daemon): Signed {
  return { body, kid: signer.kid, sig: signer.sign(ENVELOPE_TYPE, body) };
}

export const signed = (envelope: Envelope = event, signer: Signer = daemon): Signed =>
  encode(envelope, signer);

/** The code that some work fails with; `none` when it does not, and anything but a FabricError is thrown on. */
export function codeOf(work: () => unknown): string {
  try {
    work();
    return "none";
  } catch (error) {
    if (error instanceof FabricError) return error.code;
    throw error;
  }
}

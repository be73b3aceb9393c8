/**
 * The closed table of error codes: the only thing that other code branches on.
 *
 * `never`: the same input fails again. `backoff`: try again, ever more slowly. `after`: try again at the
 * time that came with it (`retryAfterMs`).
 *
 * `blame` says what causes the error. `message`: the content of the message, so that the same message fails
 * everywhere and always. `surroundings`: anything else (an outage, a missing queue, a lost lease, a switched-off
 * feature). When handling a message fails, the bus gives the message up only for an error of the first kind, and
 * retries it after any other, however long. A decision about a message is not such a failure: an intent also ends
 * with codes of the second kind (`flag.disabled`, `platform.auth_expired`), and an event goes to quarantine with
 * `flag.disabled`.
 */
export const CODES = {
  "topic.malformed": {
    retry: "never",
    blame: "message",
    help: "The topic does not follow the grammar; correct the publisher's service, instance or action.",
  },

  "envelope.too_large": {
    retry: "never",
    blame: "message",
    help: "An envelope holds at most 1,048,576 bytes; send media by reference and long histories in parts.",
  },
  "envelope.not_utf8": {
    retry: "never",
    blame: "message",
    help: "The body must be strict UTF-8 without a byte order mark; the sender must fix its encoder.",
  },
  "envelope.malformed": {
    retry: "never",
    blame: "message",
    help: "The body is not JSON or nests too deeply; the sender must fix its encoder.",
  },
  "envelope.not_canonical": {
    retry: "never",
    blame: "message",
    help: "The body is not in RFC 8785 form; the sender must canonicalise before it signs.",
  },
  "envelope.schema": {
    retry: "never",
    blame: "message",
    help: "A member is missing, unknown or out of its range; the detail names it. The sender must be fixed.",
  },
  "envelope.unsigned": {
    retry: "never",
    blame: "message",
    help: "There is no signature. Enrol the sender; unsigned envelopes exist on development namespaces only.",
  },
  "envelope.bad_signature": {
    retry: "never",
    blame: "message",
    help: "The signature does not match the bytes: they were altered, or signed as something else.",
  },
  "envelope.unknown_key": {
    retry: "never",
    blame: "message",
    help: "No key in force has this id. Enrol the daemon, or wait until its key becomes valid.",
  },
  "envelope.revoked_key": {
    retry: "never",
    blame: "message",
    help: "The key was revoked or has run out. Enrol the sender again with a new key.",
  },
  "envelope.wrong_issuer": {
    retry: "never",
    blame: "message",
    help: "The key may not sign for this issuer, service or workspace; look at its key record.",
  },
  "envelope.misrouted": {
    retry: "never",
    blame: "message",
    help: "It arrived on a topic other than the one it was signed for; someone re-published it.",
  },
  "envelope.expired": {
    retry: "never",
    blame: "message",
    help: "It is past its expiry or older than 24 hours; ask again with a new envelope.",
  },
  "envelope.from_future": {
    retry: "never",
    blame: "message",
    help: "It is dated more than five minutes ahead; set the sender's clock.",
  },
  "envelope.duplicate": {
    retry: "never",
    blame: "message",
    help: "The same message was already applied; nothing needs to be done.",
  },
  "envelope.conflict": {
    retry: "never",
    blame: "message",
    help: "The same message id came with other content; compare both in quarantine and drop one.",
  },

  "ticket.missing": {
    retry: "never",
    blame: "message",
    help: "An intent must carry a ticket; let the core publish it.",
  },
  "ticket.invalid": {
    retry: "never",
    blame: "message",
    help: "The ticket is not one that the core signed for this purpose.",
  },
  "ticket.expired": {
    retry: "never",
    blame: "message",
    help: "The ticket ran out; the core mints another when it publishes again.",
  },
  "ticket.replayed": {
    retry: "never",
    blame: "message",
    help: "A ticket to send is good once; this one was used.",
  },
  "ticket.wrong_audience": {
    retry: "never",
    blame: "message",
    help: "The ticket was minted for another daemon or another key.",
  },
  "ticket.wrong_destination": {
    retry: "never",
    blame: "message",
    help: "The ticket covers another workspace, identity, conversation or action.",
  },

  "policy.denied": {
    retry: "never",
    blame: "message",
    help: "A policy of the workspace forbids it; the decision names which.",
  },
  "policy.held": { retry: "never", blame: "message", help: "It waits for a person to release or deny it." },
  "policy.unavailable": {
    retry: "backoff",
    blame: "surroundings",
    help: "The policy could not be evaluated, which counts as denied.",
  },
  "flag.disabled": {
    retry: "never",
    blame: "surroundings",
    help: "The feature is switched off for this workspace or service.",
  },

  "vault.sealed": {
    retry: "backoff",
    blame: "surroundings",
    help: "The vault is sealed; an operator must unseal it.",
  },
  "vault.lease_expired": {
    retry: "never",
    blame: "surroundings",
    help: "The credential lease ran out; check the credential out again.",
  },
  "vault.revoked": {
    retry: "never",
    blame: "surroundings",
    help: "The credential was revoked; link the account again.",
  },
  "vault.conflict": {
    retry: "never",
    blame: "surroundings",
    help: "A newer version of the credential exists; check it out and redo the change.",
  },
  "vault.full": {
    retry: "never",
    blame: "surroundings",
    help: "The account keeps as many durable rows or bytes as it may; its connector must delete some first.",
  },
  "vault.unavailable": {
    retry: "backoff",
    blame: "surroundings",
    help: "The vault or its key backend does not answer; see `linkspan doctor`.",
  },

  "platform.rate_limited": {
    retry: "after",
    blame: "surroundings",
    help: "The platform asked to slow down; it is sent again by itself.",
  },
  "platform.auth_expired": {
    retry: "never",
    blame: "surroundings",
    help: "The platform no longer accepts the login; link the account again.",
  },
  "platform.forbidden": {
    retry: "never",
    blame: "message",
    help: "The platform does not let this account do that there.",
  },
  "platform.not_found": {
    retry: "never",
    blame: "message",
    help: "The platform knows no such user, channel or message.",
  },
  "platform.too_long": {
    retry: "never",
    blame: "message",
    help: "The platform does not take a message of this size; shorten it.",
  },
  "platform.unavailable": {
    retry: "backoff",
    blame: "surroundings",
    help: "The platform cannot be reached; it is tried again by itself.",
  },
  "platform.unsupported": {
    retry: "never",
    blame: "message",
    help: "The platform has no such feature; see the daemon's capabilities.",
  },

  "action.unsupported": {
    retry: "never",
    blame: "message",
    help: "No such action is served for this service; see the reference.",
  },

  "bus.unavailable": {
    retry: "backoff",
    blame: "surroundings",
    help: "The message broker or the API does not answer; see `linkspan doctor`.",
  },
  "bus.unroutable": {
    retry: "never",
    blame: "surroundings",
    help: "No queue takes this route; see whether the daemon runs and has bound a queue for this action.",
  },
  "bus.timeout": { retry: "backoff", blame: "surroundings", help: "No answer or confirmation came in time." },
  "bus.rejected": {
    retry: "never",
    blame: "message",
    help: "It was refused for a reason that is not known here; look at the dead letter.",
  },

  "store.rejected": {
    retry: "never",
    blame: "message",
    help: "The database cannot hold one of its values; the sender must be fixed. It is in quarantine.",
  },
  "store.unavailable": {
    retry: "backoff",
    blame: "surroundings",
    help: "The database cannot be reached; see `linkspan doctor`.",
  },
  "intent.conflict": {
    retry: "never",
    blame: "message",
    help: "This idempotency key was used with another body; use a new key for a new intent.",
  },
  "intent.too_large": {
    retry: "never",
    blame: "message",
    help: "The text or the number of parts is above the limit; the detail names it. Send several intents.",
  },
  "intent.queue_full": {
    retry: "after",
    blame: "surroundings",
    help: "Too many intents wait for this identity or workspace; submit more when some of them are settled.",
  },
  "media.too_large": {
    retry: "never",
    blame: "message",
    help: "The media is larger than this installation takes; the detail names the limit.",
  },
  "media.quota_exceeded": {
    retry: "never",
    blame: "surroundings",
    help: "The workspace holds as much media as it may; wait until old media is deleted, or raise its quota.",
  },
  "media.incomplete": {
    retry: "never",
    blame: "surroundings",
    help: "The upload ended or stood still before all bytes were there; nothing of it is kept. Upload it again.",
  },
  "media.damaged": {
    retry: "never",
    blame: "surroundings",
    help: "The stored bytes are missing or were changed; restore them from a backup, or upload the media again.",
  },
  "media.unavailable": {
    retry: "backoff",
    blame: "surroundings",
    help: "The place of media does not answer or has no room; see `linkspan doctor`.",
  },
  "request.invalid": {
    retry: "never",
    blame: "message",
    help: "The request does not follow the API; the detail names the member.",
  },
  "request.unauthorized": { retry: "never", blame: "message", help: "Send a valid API token." },
  "request.forbidden": { retry: "never", blame: "message", help: "The token's role does not allow this." },
  "request.not_found": {
    retry: "never",
    blame: "message",
    help: "There is no such resource in this workspace.",
  },
  "request.rate_limited": {
    retry: "after",
    blame: "surroundings",
    help: "There were too many requests or streams; repeat it after the time that came with it.",
  },
  "lease.held": {
    retry: "after",
    blame: "surroundings",
    help: "Another process holds this instance; it is taken over when that one stops.",
  },
  "lease.lost": {
    retry: "never",
    blame: "surroundings",
    help: "Another process took this instance over; this one must stop acting for it.",
  },
  "send.uncertain": {
    retry: "never",
    blame: "surroundings",
    help: "It may or may not have been sent; look at the platform before sending it again.",
  },
  "send.incomplete": {
    retry: "never",
    blame: "surroundings",
    help: "Some of its parts were sent and the rest will not be; send what is missing as a new intent.",
  },
  internal: {
    retry: "backoff",
    blame: "surroundings",
    help: "A fault of Linkspan itself; the log has the cause under the trace id.",
  },
} as const satisfies Record<string, { readonly retry: Retry; readonly blame: Blamed; readonly help: string }>;

export type Retry = "never" | "backoff" | "after";
export type Blamed = "message" | "surroundings";
export type ErrorCode = keyof typeof CODES;

/** The one error class. `message` is for people and logs; it holds no message text and no secret. */
export class FabricError extends Error {
  override readonly name = "FabricError";
  readonly code: ErrorCode;
  /** Milliseconds to wait before the next try, where the retry rule is `after`. */
  readonly retryAfterMs: number | undefined;

  constructor(code: ErrorCode, detail: string, options: ErrorOptions & { retryAfterMs?: number } = {}) {
    super(detail, options);
    this.code = code;
    this.retryAfterMs = options.retryAfterMs;
  }
}

export function isFabricError(error: unknown): error is FabricError {
  return error instanceof FabricError;
}

export function isErrorCode(text: string): text is ErrorCode {
  return Object.hasOwn(CODES, text);
}

/**
 * The cause of a failure, for everything that decides whether a message may be given up.
 *
 * @returns `unknown` for anything but a FabricError: it is waited out like the surroundings, and reported
 */
export function blameOf(error: unknown): Blamed | "unknown" {
  return isFabricError(error) ? CODES[error.code].blame : "unknown";
}

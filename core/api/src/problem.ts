/**
 * Errors as RFC 9457 problem details: our code, its help sentence as the title, the error's text as the
 * detail. One status per code, in one table.
 */
import { CODES, type ErrorCode, FabricError, isFabricError } from "@linkspan/envelopes";
import type { Socket } from "node:net";
import type { FastifyError, FastifyReply } from "fastify";
import { hasZodFastifySchemaValidationErrors } from "fastify-type-provider-zod";
import { z } from "zod";

export const PROBLEM_TYPE = "application/problem+json";

export const ProblemSchema = z
  .object({
    type: z.string().meta({ description: "path of the page about the code, at the API that answered" }),
    code: z.enum(Object.keys(CODES) as [ErrorCode, ...ErrorCode[]]),
    title: z.string().meta({ description: "what to do about errors of this code" }),
    detail: z.string().meta({ description: "what happened this time" }),
    status: z.int(),
    instance: z.string().meta({ description: "id of the request, as in the log" }),
    retry_after_ms: z.int().optional(),
  })
  .meta({ id: "Problem" });

export type Problem = z.output<typeof ProblemSchema>;

const STATUS = {
  "topic.malformed": 400,
  "envelope.too_large": 413,
  "envelope.not_utf8": 400,
  "envelope.malformed": 400,
  "envelope.not_canonical": 400,
  "envelope.schema": 400,
  "envelope.unsigned": 400,
  "envelope.bad_signature": 400,
  "envelope.unknown_key": 400,
  "envelope.revoked_key": 400,
  "envelope.wrong_issuer": 403,
  "envelope.misrouted": 400,
  "envelope.expired": 400,
  "envelope.from_future": 400,
  "envelope.duplicate": 409,
  "envelope.conflict": 409,
  "ticket.missing": 403,
  "ticket.invalid": 403,
  "ticket.expired": 403,
  "ticket.replayed": 403,
  "ticket.wrong_audience": 403,
  "ticket.wrong_destination": 403,
  "policy.denied": 403,
  "policy.held": 409,
  "policy.unavailable": 503,
  "flag.disabled": 403,
  "vault.sealed": 503,
  "vault.lease_expired": 409,
  "vault.revoked": 409,
  "vault.conflict": 409,
  "vault.full": 507,
  "vault.unavailable": 503,
  "platform.rate_limited": 429,
  "platform.auth_expired": 422,
  "platform.forbidden": 422,
  "platform.not_found": 422,
  "platform.too_long": 422,
  "platform.unavailable": 503,
  "platform.unsupported": 422,
  "action.unsupported": 422,
  "bus.unavailable": 503,
  "bus.unroutable": 409,
  "bus.timeout": 504,
  "bus.rejected": 502,
  "store.rejected": 422,
  "store.unavailable": 503,
  "intent.conflict": 409,
  "intent.too_large": 413,
  "intent.queue_full": 429,
  "media.too_large": 413,
  "media.quota_exceeded": 507,
  "media.incomplete": 408,
  "media.damaged": 500,
  "media.unavailable": 503,
  "request.invalid": 400,
  "request.unauthorized": 401,
  "request.forbidden": 403,
  "request.not_found": 404,
  "request.rate_limited": 429,
  "lease.held": 409,
  "lease.lost": 409,
  "send.uncertain": 409,
  "send.incomplete": 409,
  internal: 500,
} as const satisfies Record<ErrorCode, number>;

/** Seconds that a client waits when an outage states no time. */
const OUTAGE_RETRY_S = 1;

export function statusOf(code: ErrorCode): number {
  return STATUS[code];
}

/** The page about a code: a reference relative to the API's own address. */
export function problemPath(code: ErrorCode): string {
  return `/problems/${code}`;
}

export function problemOf(error: FabricError, requestId: string): Problem {
  return {
    type: problemPath(error.code),
    code: error.code,
    title: CODES[error.code].help,
    detail: error.message,
    status: STATUS[error.code],
    instance: requestId,
    ...(error.retryAfterMs !== undefined && { retry_after_ms: Math.ceil(error.retryAfterMs) }),
  };
}

export function headersOf(error: FabricError): Record<string, string> {
  const headers: Record<string, string> = {};
  if (error.code === "request.unauthorized") headers["www-authenticate"] = "Bearer";
  if (error.retryAfterMs !== undefined) {
    headers["retry-after"] = String(Math.max(1, Math.ceil(error.retryAfterMs / 1_000)));
  } else if (STATUS[error.code] === 503) {
    headers["retry-after"] = String(OUTAGE_RETRY_S);
  }
  return headers;
}

export function sendProblem(error: FabricError, requestId: string, reply: FastifyReply): FastifyReply {
  const problem = problemOf(error, requestId);
  return reply
    .code(problem.status)
    .headers(headersOf(error))
    .type(PROBLEM_TYPE)
    .serializer(JSON.stringify)
    .send(problem);
}

/** Node's own refusals: bytes that are not HTTP, headers that are too large, requests that take too long. */
const UNREADABLE: Readonly<Record<string, { readonly line: string; readonly detail: string }>> = {
  HPE_HEADER_OVERFLOW: {
    line: "431 Request Header Fields Too Large",
    detail: "the headers are larger than 16,384 bytes",
  },
  ERR_HTTP_REQUEST_TIMEOUT: { line: "408 Request Timeout", detail: "the request did not arrive in time" },
};

/** Answers bytes that never became a request, and closes the connection. */
export function refuseUnreadable(error: NodeJS.ErrnoException, socket: Socket): void {
  if (error.code === "ECONNRESET" || !socket.writable) {
    socket.destroy();
    return;
  }
  const { line, detail } = UNREADABLE[error.code ?? ""] ?? {
    line: "400 Bad Request",
    detail: "it is no HTTP",
  };
  const status = Number(line.slice(0, 3));
  const problem = { ...problemOf(new FabricError("request.invalid", detail), "none"), status };
  const body = JSON.stringify(problem);
  socket.end(
    `HTTP/1.1 ${line}\r\ncontent-type: ${PROBLEM_TYPE}\r\ncontent-length: ${Buffer.byteLength(body)}\r\n` +
      `connection: close\r\n\r\n${body}`,
    () => socket.destroy(),
  );
}

/** The error that the caller is told for a thrown value: never a cause, never a value from the request. */
export function toFabricError(error: unknown): FabricError {
  if (isFabricError(error)) return error;
  if (hasZodFastifySchemaValidationErrors(error)) {
    const [issue] = error.validation;
    const member = issue?.instancePath.slice(1).replaceAll("/", ".") ?? "";
    const where = [error.validationContext, member].filter(Boolean).join(".");
    return new FabricError("request.invalid", `${where}: ${issue?.message ?? "invalid"}`, { cause: error });
  }
  return fromFastify(error) ?? new FabricError("internal", "an unexpected fault", { cause: error });
}

/** Fastify's own refusals that are not about the body. */
const REFUSALS: Readonly<Record<string, string>> = {
  FST_ERR_CTP_INVALID_MEDIA_TYPE: "the body must be application/json",
  FST_ERR_BAD_URL: "the path is not valid",
  FST_ERR_MAX_PARAM_LENGTH: "a segment of the path is too long",
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: "the body is not as long as its header says",
};

function fromFastify(error: unknown): FabricError | undefined {
  if (!(error instanceof Error) || !("code" in error)) return undefined;
  const { code, statusCode } = error as FastifyError;
  if (code === "FST_ERR_CTP_BODY_TOO_LARGE") {
    return new FabricError("envelope.too_large", "the body is larger than this route takes", {
      cause: error,
    });
  }
  if (statusCode !== undefined && statusCode >= 400 && statusCode < 500) {
    return new FabricError("request.invalid", REFUSALS[code] ?? "the body is not JSON", { cause: error });
  }
  return undefined;
}

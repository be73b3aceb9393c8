/**
 * How long a body may take. Node's own limit is for all requests alike, so it is off: a small body has to arrive within a
 * fixed time, an upload of media has to go on arriving.
 */
import type { FastifyInstance, FastifyRequest } from "fastify";
import { refuseUnreadable } from "../problem.ts";
import { type ApiLimits, LEAST_UPLOAD_BYTES } from "./limits.ts";

declare module "fastify" {
  interface FastifyContextConfig {
    /** The route reads its body itself, as a stream of bytes; nothing checks it or limits its whole time. */
    isStreamed?: boolean;
  }
}

export function boundBodyTime(app: FastifyInstance, { requestMs }: Pick<ApiLimits, "requestMs">): void {
  app.addHook("onRequest", (request, reply, done) => {
    const { headers, raw } = request;
    const hasBody = "transfer-encoding" in headers || (headers["content-length"] ?? "0") !== "0";
    if (hasBody && request.routeOptions.config.isStreamed !== true) {
      const timer = setTimeout(() => {
        if (reply.raw.headersSent) raw.socket.destroy();
        else tooLate(request);
      }, requestMs).unref();
      for (const end of ["end", "close"]) raw.once(end, () => clearTimeout(timer));
    }
    done();
  });
}

/**
 * The body of an upload. When it stands still, the request is answered 408 and its connection ends; time in which its
 * bytes are not asked for does not count.
 */
export async function* arriving(
  request: FastifyRequest,
  { stallMs }: Pick<ApiLimits, "stallMs">,
): AsyncGenerator<Uint8Array> {
  let bytes = 0;
  let awaitedMs = 0;
  let awaitedSince: number | undefined;
  const timer = setInterval(() => {
    const openMs = awaitedSince === undefined ? 0 : performance.now() - awaitedSince;
    if (awaitedMs + openMs < stallMs * 0.9) return;
    if (bytes < LEAST_UPLOAD_BYTES) tooLate(request);
    bytes = 0;
    awaitedMs = -openMs;
  }, stallMs / 2).unref();
  const pieces = (request.raw as AsyncIterable<Uint8Array>)[Symbol.asyncIterator]();
  try {
    for (;;) {
      awaitedSince = performance.now();
      const next = await pieces.next();
      awaitedMs += performance.now() - awaitedSince;
      awaitedSince = undefined;
      if (next.done === true) return;
      bytes += next.value.byteLength;
      yield next.value;
    }
  } finally {
    // The body's own iteration is not ended: that would end the connection before the answer.
    clearInterval(timer);
  }
}

function tooLate({ raw }: FastifyRequest): void {
  refuseUnreadable(Object.assign(new Error("too late"), { code: "ERR_HTTP_REQUEST_TIMEOUT" }), raw.socket);
}

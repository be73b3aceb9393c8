/**
 * Checks every request once, before its route: strict UTF-8 and JSON, not deeper than an envelope, and no
 * value in body, path or query that a table cannot store unchanged.
 */
import { isUtf8 } from "node:buffer";
import { FabricError, MAX_DEPTH, nestsDeeper } from "@linkspan/envelopes";
import type { FastifyInstance } from "fastify";
import type { Admission } from "./limits/admission.ts";

/** Reads bodies of `application/json`. Clients also send this content type when a request needs no body. */
export function readJson(app: FastifyInstance, admission: Admission): void {
  const parse = app.getDefaultJsonParser("error", "error");
  app.removeContentTypeParser(["application/json", "text/plain"]);
  app.addContentTypeParser("application/json", { parseAs: "buffer" }, (request, body, done) => {
    const bytes = body as Buffer;
    if (bytes.length === 0) {
      done(null, undefined);
      return;
    }
    try {
      if (request.caller !== undefined) admission.body(request.caller, bytes.length);
    } catch (error) {
      done(error as Error);
      return;
    }
    const fault = faultOfBytes(bytes);
    if (fault === undefined) void parse(request, bytes.toString("utf8"), done);
    else done(invalid(fault));
  });
}

declare module "fastify" {
  interface FastifyContextConfig {
    /** The body becomes an envelope, whose own checks report errors more exactly. */
    isEnvelope?: boolean;
  }
}

/** Refuses NUL, lone surrogates and numbers that JSON cannot represent, in any value of the request. */
export function refuseUnstorable(app: FastifyInstance): void {
  app.addHook("preValidation", async ({ body, params, query, routeOptions }) => {
    const { isEnvelope, isStreamed } = routeOptions.config;
    const checked = isEnvelope === true || isStreamed === true ? undefined : body;
    for (const [where, value] of Object.entries({ body: checked, params, querystring: query })) {
      const fault = unstorable(value);
      if (fault !== undefined) throw invalid(`${where}: ${fault}`);
    }
  });
}

function faultOfBytes(bytes: Buffer): string | undefined {
  if (!isUtf8(bytes)) return "the body is not UTF-8";
  return nestsDeeper(bytes, MAX_DEPTH) ? `the body nests deeper than ${MAX_DEPTH}` : undefined;
}

/**
 * @returns what is wrong with a value no deeper than {@link MAX_DEPTH}; undefined when a table can store it
 */
export function unstorable(value: unknown): string | undefined {
  switch (typeof value) {
    case "string":
      if (value.includes("\0")) return "a text holds NUL";
      return value.isWellFormed() ? undefined : "a text holds half of a surrogate pair";
    case "number":
      return Number.isFinite(value) ? undefined : "a number is too large";
    case "object":
      return value === null ? undefined : unstorableMember(value);
    default:
      return undefined;
  }
}

function unstorableMember(object: object): string | undefined {
  for (const [name, value] of Object.entries(object)) {
    const fault = unstorable(name) ?? unstorable(value);
    if (fault !== undefined) return fault;
  }
  return undefined;
}

function invalid(detail: string): FabricError {
  return new FabricError("request.invalid", detail);
}

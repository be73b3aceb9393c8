/** The small schemas that payloads are made of. */
import { z } from "zod";
import { OpenObject } from "../codec/envelope.ts";
import { CODES, type ErrorCode } from "../errors/errors.ts";
import { LIMITS } from "./limits.ts";
import { CHANNEL_REF, IDENTITY_REF } from "../names/refs.ts";

export { OpenObject };

/** The type of a payload: what its schema lets through, not to be changed. */
export type PayloadOf<S extends z.ZodType> = DeepReadonly<z.output<S>>;

type DeepReadonly<T> = T extends (infer E)[]
  ? readonly DeepReadonly<E>[]
  : T extends object
    ? { readonly [K in keyof T]: DeepReadonly<T[K]> }
    : T;

/** Any JSON value; the envelope's size bounds it, and no column holds it by itself. */
export const Anything = z.unknown().meta({ description: "any JSON value" });

/** Text of at most so many bytes of UTF-8. */
export function limited(maxBytes: number, minLength = 0): z.ZodString {
  return z
    .string()
    .min(minLength)
    .max(maxBytes)
    .refine((text) => fits(text, maxBytes), `longer than ${maxBytes} bytes`)
    .meta({ description: `at most ${maxBytes} bytes` });
}

/** A JSON object of any members, of at most so many bytes as JSON. */
export function openObject(maxBytes: number) {
  return z
    .custom<Record<string, unknown>>(
      (value) =>
        typeof value === "object" &&
        value !== null &&
        !Array.isArray(value) &&
        fits(JSON.stringify(value), maxBytes),
      `not an object of at most ${maxBytes} bytes`,
    )
    .meta({ type: "object", description: `open object, at most ${maxBytes} bytes` });
}

function fits(text: string, maxBytes: number): boolean {
  return text.length * 3 <= maxBytes || Buffer.byteLength(text) <= maxBytes;
}

/** An id of ours, or one that the caller chose. */
export const Id = limited(LIMITS.idBytes, 1);
/** An id of the platform. */
export const RemoteId = limited(LIMITS.remoteIdBytes, 1);
export const Word = limited(LIMITS.wordBytes, 1);
export const Name = limited(LIMITS.nameBytes);
export const Sentence = limited(LIMITS.sentenceBytes);
export const Url = limited(LIMITS.urlBytes, 1);
export const Ticket = limited(LIMITS.ticketBytes, 1);
/** The text of a message. */
export const Text = limited(LIMITS.textBytes);
export const Cursor = openObject(LIMITS.cursorBytes);
export const Count = z.int().min(0);
export const Positive = z.int().min(1);
/** Of an attempt: a column of 32 bits. */
export const AttemptNumber = z.int().min(1).max(LIMITS.int4);
export const Part = z
  .int()
  .min(0)
  .max(LIMITS.parts - 1)
  .meta({ description: "the first is 0; less than parts" });
export const Parts = z.int().min(1).max(LIMITS.parts);
export const Millis = z.int().min(0).max(LIMITS.timerMs);
export const Ref = limited(LIMITS.refBytes, 1);
/** Keys, key ids, encapsulations: 32 bytes of each today. */
export const Base64url = z
  .string()
  .regex(/^[A-Za-z0-9_-]+$/)
  .max(LIMITS.idBytes);
export const IdentityRef = z.string().regex(IDENTITY_REF).max(LIMITS.refBytes);
export const ChannelRef = z.string().regex(CHANNEL_REF).max(LIMITS.refBytes);
export const Code = z.enum(Object.keys(CODES) as [ErrorCode, ...ErrorCode[]]);

/** Msgr writes platform ids as numbers while they are safe, and qualified ids as strings. */
export const PlatformId = z.union([z.int(), RemoteId]);

/** A cross-check of two members: the part lies within its message. */
export function hasPart({ part, parts }: { readonly part: number; readonly parts: number }): boolean {
  return part < parts;
}

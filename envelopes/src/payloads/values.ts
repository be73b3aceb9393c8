/** The small schemas that payloads are made of. */
import { z } from "zod";
import { OpenObject } from "../envelope.ts";
import { CODES, type ErrorCode } from "../errors.ts";
import { IDENTITY_REF } from "../refs.ts";

export { OpenObject };

/** The type of a payload: what its schema lets through, not to be changed. */
export type PayloadOf<S extends z.ZodType> = DeepReadonly<z.output<S>>;

type DeepReadonly<T> = T extends (infer E)[]
  ? readonly DeepReadonly<E>[]
  : T extends object
    ? { readonly [K in keyof T]: DeepReadonly<T[K]> }
    : T;

/** Any JSON value. */
export const Anything = z.unknown().meta({ description: "any JSON value" });

export const Id = z.string().min(1);
export const Text = z.string();
export const Count = z.int().min(0);
export const Positive = z.int().min(1);
export const Base64url = z.string().regex(/^[A-Za-z0-9_-]+$/);
export const IdentityRef = z.string().regex(IDENTITY_REF);
export const Code = z.enum(Object.keys(CODES) as [ErrorCode, ...ErrorCode[]]);

/** Msgr writes platform ids as numbers while they are safe, and qualified ids as strings. */
export const PlatformId = z.union([z.int(), Id]);

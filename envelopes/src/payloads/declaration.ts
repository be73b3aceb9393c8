/**
 * A connector's declaration for linking: which fields are settings, which are secret, and what each may hold. The
 * core refuses everything else before it is stored, and gives a secret to nobody but the vault.
 */
import { z } from "zod";
import { limited, type PayloadOf, Positive } from "./values.ts";

/** `sasl.account` is the member of an object; `channel_key:*` stands for any name that begins so. */
export const FIELD_NAME = /^[a-z][A-Za-z0-9_]{0,63}(?:\.[a-z][A-Za-z0-9_]{0,63}){0,3}(?::\*)?$/;

/**
 * The syntax of a value. `word`: text without blanks and controls; `line`: text without controls; `text`: any text
 * without NUL; `list`: lines, as an array or as one line with commas. A form gives all of them as text.
 */
export const FIELD_SYNTAX = ["word", "line", "text", "integer", "boolean", "list"] as const;

/** A text for forms and terminals, without control characters. */
const Shown = (maxBytes: number, minLength = 0) =>
  limited(maxBytes, minLength).refine((text) => !CONTROLS.test(text), "holds control characters");
const CONTROLS = /\p{Cc}|\p{Zl}|\p{Zp}/u;

/** How a person proves whose account it is; `oauth` ends at the session's callback. */
export const LINK_METHODS = ["password", "oauth", "device_link"] as const;

export const LinkFieldSchema = z.strictObject({
  name: z.string().regex(FIELD_NAME),
  label: Shown(200, 1),
  required: z.boolean(),
  secret: z.boolean(),
  syntax: z.enum(FIELD_SYNTAX),
  max_bytes: Positive,
  example: Shown(200).exactOptional(),
  advanced: z.literal(true).exactOptional().meta({ description: "accepted, but not asked for in forms" }),
});

export const LinkDeclarationSchema = z.strictObject({
  name: Shown(100, 1).meta({ description: "of the platform, for people" }),
  description: Shown(1_000),
  fields: z
    .array(LinkFieldSchema)
    .max(128)
    .refine(
      (fields) => new Set(fields.map(({ name }) => name)).size === fields.length,
      "a name stands twice",
    ),
  method: z.enum(LINK_METHODS).exactOptional().meta({ description: "default password" }),
  wants_context: z.literal(true).exactOptional().meta({
    description: "link requests carry `client_context` and `callback`; absent: they carry neither",
  }),
});

export type LinkField = PayloadOf<typeof LinkFieldSchema>;
export type LinkDeclaration = PayloadOf<typeof LinkDeclarationSchema>;

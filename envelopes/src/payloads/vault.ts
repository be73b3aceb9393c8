/**
 * Leasing credentials, and the durable rows of identities: `bridge/vault/...`. What is sealed is readable with the
 * daemon's or the core's seal key only.
 */
import { z } from "zod";
import { Digest } from "../codec/envelope.ts";
import { LIMITS } from "./limits.ts";
import { Base64url, Count, Id, Millis, type PayloadOf, Positive, Ticket } from "./values.ts";

export const SealedSchema = z
  .strictObject({
    enc: Base64url,
    ct: z
      .string()
      .regex(/^[A-Za-z0-9_-]+$/)
      .max(LIMITS.sealedChars),
  })
  .meta({ description: "HPKE encapsulation and ciphertext" });

export const CheckoutRequestSchema = z.strictObject({
  ticket: Ticket,
  scope: z.enum(["session", "send", "sync"]),
});

export const CheckoutReplySchema = z.strictObject({
  lease_id: Id,
  ttl_ms: Millis.min(1),
  version: Count.meta({ description: "0: the identity has no credential" }),
  sealed: SealedSchema.exactOptional(),
});

export const RenewRequestSchema = z.strictObject({ lease_id: Id });
export const RenewReplySchema = z.strictObject({ ttl_ms: Millis.min(1) });
export const ReleaseRequestSchema = z.strictObject({ lease_id: Id });
export const ReleaseReplySchema = z.strictObject({});
export const WriteBackRequestSchema = z.strictObject({
  lease_id: Id,
  version: Count.meta({ description: "the version that was checked out" }),
  sealed: SealedSchema,
});
export const WriteBackReplySchema = z.strictObject({ version: Positive });

export const LoadRowsRequestSchema = z.strictObject({
  identity_id: Id,
  cursor: Digest.exactOptional().meta({ description: "as answered; absent for the first page" }),
  version: Count.exactOptional().meta({
    description: "that of the first page: another one is refused, since its pages would not fit together",
  }),
});

export const LoadRowsReplySchema = z.strictObject({
  version: Count.meta({ description: "the next commit names it; 0: nothing was ever kept" }),
  sealed: SealedSchema.exactOptional().meta({ description: "absent: there are no rows on this page" }),
  cursor: Digest.exactOptional().meta({ description: "asks for the next page; absent on the last one" }),
});

export const CommitRowsRequestSchema = z.strictObject({
  identity_id: Id,
  version: Count.meta({ description: "the version that the changes build on" }),
  sealed: SealedSchema,
});
export const CommitRowsReplySchema = z.strictObject({ version: Positive });

export type Sealed = PayloadOf<typeof SealedSchema>;
export type CheckoutRequest = PayloadOf<typeof CheckoutRequestSchema>;
export type CheckoutReply = PayloadOf<typeof CheckoutReplySchema>;
export type RenewRequest = PayloadOf<typeof RenewRequestSchema>;
export type RenewReply = PayloadOf<typeof RenewReplySchema>;
export type ReleaseRequest = PayloadOf<typeof ReleaseRequestSchema>;
export type WriteBackRequest = PayloadOf<typeof WriteBackRequestSchema>;
export type WriteBackReply = PayloadOf<typeof WriteBackReplySchema>;
export type LoadRowsRequest = PayloadOf<typeof LoadRowsRequestSchema>;
export type LoadRowsReply = PayloadOf<typeof LoadRowsReplySchema>;
export type CommitRowsRequest = PayloadOf<typeof CommitRowsRequestSchema>;
export type CommitRowsReply = PayloadOf<typeof CommitRowsReplySchema>;

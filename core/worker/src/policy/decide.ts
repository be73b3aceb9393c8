/**
 * Decides whether an intent may be sent. The first denial decides: first the invariants in code, then the
 * switch. Workspace policies are checked in addition to these, never instead of them.
 */
import { createHash, randomUUID } from "node:crypto";
import type { ErrorCode } from "@linkspan/envelopes";
import { identityById, type Identity, type Intent, type Queryable } from "@linkspan/store";
import { type ConnectorSwitch, connectorSwitch } from "../flags/switch.ts";

export interface Decision {
  readonly id: string;
  /** Hash of the rules that decided, base64url. */
  readonly policy: string;
  readonly state: "queued" | "denied" | "held";
  readonly code?: ErrorCode;
  readonly reason?: string;
}

/** The rules below, by name and version. Changing one changes the hash that decisions contain. */
const RULES = ["same-workspace/1", "own-identity/1", "same-service/1", "linked/1", "switched-on/1"];

export const POLICY_HASH = createHash("sha256").update(RULES.join("\n")).digest("base64url");

/** @param objection the first rule that forbids it */
export function decide(objection: Objection | undefined): Decision {
  const base = { id: randomUUID(), policy: POLICY_HASH };
  return objection === undefined ? { ...base, state: "queued" } : { ...base, state: "denied", ...objection };
}

export interface Objection {
  readonly code: ErrorCode;
  readonly reason: string;
}

/** Whose an intent is, as the invariants need it. */
export type Owned = Pick<Intent, "workspace_id" | "user_id" | "service">;

/** Asked before an intent is given to a daemon that does not ask, in the caller's transaction. */
export async function objectionTo(
  on: Queryable,
  intent: Owned & Pick<Intent, "identity_id">,
): Promise<Objection | undefined> {
  const identity = await identityById(on, intent.identity_id);
  return objectionBy(intent, identity, await connectorSwitch(on, [intent.workspace_id]));
}

/** The same for who has read the identity and the switches already, as when many intents are recorded or attempted. */
export function objectionBy(
  intent: Owned,
  identity: Identity | undefined,
  isOn: ConnectorSwitch,
): Objection | undefined {
  const broken = brokenInvariant(intent, identity);
  if (broken !== undefined) return { code: "policy.denied", reason: broken };
  if (!isOn(intent.workspace_id, intent.service)) {
    return { code: "flag.disabled", reason: `the ${intent.service} connector is switched off` };
  }
  return undefined;
}

/** Tenant equality and ownership; no policy can override these. */
export function brokenInvariant(intent: Owned, identity: Identity | undefined): string | undefined {
  if (identity === undefined) return "the identity does not exist";
  if (identity.workspace_id !== intent.workspace_id) return "the identity belongs to another workspace";
  if (identity.user_id !== intent.user_id) return "the identity belongs to another user";
  if (identity.service !== intent.service) return "the identity is not one of this service";
  if (identity.state !== "linked") return "the identity is not linked";
  return undefined;
}

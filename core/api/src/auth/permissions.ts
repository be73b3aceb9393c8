/**
 * Permissions by role. A route that is not in this table is refused when it is registered.
 *
 * An auditor sees which actions happened, but no message content. A backend acts for its users and has no
 * operator rights. An operator runs the installation and cannot send messages.
 */
import type { Role } from "@linkspan/store";

const OWNERS = ["owner", "admin"] as const satisfies Role[];
const RUNNERS = [...OWNERS, "operator"] as const;
const SPEAKERS = [...OWNERS, "backend"] as const;
const STAFF = [...RUNNERS, "auditor"] as const;
const WORKERS = [...RUNNERS, "backend"] as const;
const ALL = [...STAFF, "backend"] as const;

export type Allowed = "anyone" | readonly Role[];

export const PERMISSIONS: Readonly<Record<string, Allowed>> = {
  "GET /": "anyone",
  "GET /openapi.json": "anyone",
  "GET /problems/:code": "anyone",
  "GET /health/live": "anyone",
  "GET /health/ready": "anyone",
  "GET /metrics": "anyone",

  "GET /v1/health": STAFF,

  "POST /v1/intents": SPEAKERS,
  "GET /v1/intents": ALL,
  "GET /v1/intents/:id": WORKERS,
  "POST /v1/intents/:id/cancel": WORKERS,
  "POST /v1/intents/:id/resolve": RUNNERS,

  "GET /v1/events": SPEAKERS,
  "GET /v1/events/stream": SPEAKERS,
  "POST /v1/replays": RUNNERS,

  "GET /api/bridges/catalog": ALL,
  "POST /api/bridges/:id/sessions": SPEAKERS,
  "GET /api/bridges/sessions/:id": SPEAKERS,
  "POST /api/bridges/:id/sessions/:session_id/credentials": SPEAKERS,
  "POST /api/bridges/:id/sessions/:session_id/callback": SPEAKERS,
  "DELETE /api/bridges/:id/sessions/:session_id": SPEAKERS,
  "DELETE /api/bridges/:id": SPEAKERS,

  "GET /v1/identities": ALL,
  "GET /v1/identities/:id": ALL,
  "DELETE /v1/identities/:id": WORKERS,

  "POST /v1/media": SPEAKERS,
  "GET /v1/media/:sha256": SPEAKERS,
  "HEAD /v1/media/:sha256": SPEAKERS,
  "POST /v1/media/:sha256/links": SPEAKERS,
  // Authorised by the link itself.
  "GET /v1/media/links/:link": "anyone",
  "HEAD /v1/media/links/:link": "anyone",

  "GET /v1/audit": STAFF,
  "GET /v1/audit/refusals": STAFF,

  "GET /v1/quarantine": STAFF,
  "GET /v1/quarantine/:id": RUNNERS,
  "POST /v1/quarantine/:id/retry": RUNNERS,
  "POST /v1/quarantine/:id/drop": RUNNERS,

  "GET /v1/stuck": STAFF,
  "POST /v1/stuck/give-up": ["owner"],

  "GET /v1/connectors/:service": STAFF,
  "PUT /v1/connectors/:service": RUNNERS,

  "GET /v1/tokens": OWNERS,
  "POST /v1/tokens": OWNERS,
  "DELETE /v1/tokens/:name": OWNERS,

  "GET /v1/keys": STAFF,
  "POST /v1/keys/:kid/revoke": OWNERS,
  "POST /v1/keys/:kid/rotate": OWNERS,

  "POST /v1/enrolment-tokens": OWNERS,
  // Authorised by the one-time token in the body.
  "POST /v1/enrolments": "anyone",
};

/** @throws TypeError for a route that is not in the table */
export function allowedOn(method: string, url: string): Allowed {
  const allowed = PERMISSIONS[`${method} ${url}`];
  if (allowed === undefined) throw new TypeError(`${method} ${url} has no entry in the table of permissions`);
  return allowed;
}

const RANK: Readonly<Record<Role, number>> = { owner: 3, admin: 2, operator: 1, auditor: 1, backend: 1 };

/** A role may grant or revoke only roles with no more rights than its own. */
export function mayGrant(own: Role, other: Role): boolean {
  return RANK[own] >= RANK[other] && RANK[own] >= RANK.admin;
}

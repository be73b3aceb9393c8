/** Row types of the migrations, for typed queries. The SQL files are the authority. */
import type { ColumnType, Generated } from "kysely";

type Json<T = Record<string, unknown>> = ColumnType<T, string, string>;
type JsonDefault<T = Record<string, unknown>> = ColumnType<T, string | undefined, string>;
type Now = ColumnType<Date, Date | undefined, Date>;
/** `bigint`: the driver reads it as a string. */
type Big = ColumnType<string, string | number, string | number>;

export interface Tables {
  namespace: { name: string; generation: number; partitions: number };
  key_changes: { only_one: Generated<boolean>; version: Big };
  key_records: { kid: string; record: Json; created_at: Now; changed_at: Now };
  enrolments: {
    token_hash: Uint8Array;
    issuers: string[];
    services: string[];
    workspaces: string[];
    expires_at: Date;
    used_at: Date | null;
    replaces: ColumnType<string | null, string | null | undefined, string | null>;
    grace_s: Generated<number>;
  };
  refusals: {
    minute: Date;
    kind: string;
    workspace_id: string;
    subject: string;
    code: string;
    count: Big;
  };
  api_tokens: {
    token_hash: Uint8Array;
    name: string;
    workspace_id: string;
    role: Role;
    created_at: Now;
    revoked_at: Date | null;
  };
  instance_leases: {
    service: string;
    instance: string;
    holder: string;
    kid: string;
    epoch: Big;
    /** Until then the holder may write. */
    expires_at: Date;
    /** Until then it may stay on its platform. */
    stay_until: Generated<Date>;
    heard_since: Date | null;
    heard_at: Date | null;
  };
  instances: {
    service: string;
    instance: string;
    declaration: JsonDefault | null;
    announced_at: Date | null;
    announced_epoch: Big | null;
    health: "ok" | "degraded" | "down" | null;
    health_code: string | null;
    health_detail: string | null;
    health_at: Date | null;
  };
  worker_leases: { namespace: string; worker: string; epoch: Big; expires_at: Date };
  partition_owners: { namespace: string; partition: number; owner: string | null };
  connector_flags: {
    workspace_id: string;
    service: string;
    enabled: boolean;
    who: string;
    why: string;
    changed_at: Now;
  };
  identities: {
    id: string;
    workspace_id: string;
    user_id: string;
    service: string;
    home: string;
    instance: string;
    remote: string | null;
    name: string | null;
    state: "pending" | "linked" | "unlinked";
    settings: Json;
    bridge_state: Generated<string>;
    bridge_detail: JsonDefault;
    bridge_epoch: Generated<string>;
    capabilities: JsonDefault;
    credential_to_drop: Generated<boolean>;
    created_at: Now;
    updated_at: Now;
    unlinked_at: Generated<Date | null>;
  };
  auth_sessions: {
    id: string;
    workspace_id: string;
    user_id: string;
    service: string;
    identity_id: string;
    state: AuthSessionState;
    step: JsonDefault;
    client_context: JsonDefault;
    created_at: Now;
    changed_at: Now;
    expires_at: Date;
  };
  contacts: {
    workspace_id: string;
    identity_id: string;
    ref: string;
    kind: "contact" | "channel";
    name: string;
    updated_at: Now;
  };
  conversations: { workspace_id: string; ref: string; service: string; reader: string; created_at: Now };
  checkpoints: { account: string; cursor: Json; epoch: Big; updated_at: Now };
  intents: {
    id: string;
    ordinal: Generated<string>;
    workspace_id: string;
    user_id: string;
    identity_id: string;
    service: string;
    action: string;
    conversation: string | null;
    payload: Json;
    content: Uint8Array;
    idempotency_key: string;
    trace_id: string;
    state: IntentState;
    code: string | null;
    detail: string | null;
    attempt: Generated<number>;
    part: Generated<number>;
    parts: number | null;
    remote_ids: Generated<string[]>;
    decision: JsonDefault;
    ask_id: string | null;
    ask_epoch: string | null;
    go_until: Date | null;
    created_at: Now;
    updated_at: Now;
    expires_at: Date | null;
  };
  intent_steps: {
    at: Now;
    intent_id: string;
    state: IntentState;
    attempt: number;
    part: number | null;
    code: string | null;
    detail: string | null;
  };
  outbox: {
    intent_id: string;
    service: string;
    instance: string;
    identity_id: string;
    lane: string;
    ordinal: Generated<string>;
    bytes: number;
  };
  lanes: {
    identity_id: string;
    lane: string;
    service: string;
    instance: string;
    intent_id: string;
    bytes: number;
    due_at: Now;
    published_at: Date | null;
    published_epoch: string | null;
    parked: Generated<boolean>;
  };
  quarantine: {
    id: Generated<string>;
    at: Now;
    code: string;
    detail: string;
    routing_key: string;
    issuer: string | null;
    workspace_id: string | null;
    message_id: string | null;
    kid: string | null;
    sig: string | null;
    body: Uint8Array;
    body_hash: Uint8Array;
    seen: Generated<number>;
    state: Generated<QuarantineState>;
  };
  stuck_messages: {
    namespace: string;
    queue: string;
    message_id: string;
    worker: string;
    failures: number;
    since: Date;
    code: string;
    seen_at: Now;
    given_up_by: string | null;
  };
  media: {
    object: string;
    workspace_id: string;
    key_version: number;
    state: "writing" | "stored" | "deleting";
    sha256: Uint8Array | null;
    bytes: Big | null;
    mime: string | null;
    name: string | null;
    created_at: Now;
    used_at: Now;
  };
  media_usage: { workspace_id: string; bytes: Big; objects: Big };
  audit_entries: {
    at: Now;
    id: Generated<string>;
    workspace_id: string;
    actor: string;
    action: string;
    subject: string;
    detail: JsonDefault;
  };
}

export type Role = "owner" | "admin" | "operator" | "auditor" | "backend";
export type QuarantineState = "open" | "retried" | "dropped";

/** Contract section 9. */
export type IntentState =
  | "recorded"
  | "denied"
  | "held"
  | "queued"
  | "attempting"
  | "sent"
  | "delivered"
  | "read"
  | "failed"
  | "uncertain"
  | "expired"
  | "cancelled";

/** Contract section 9. */
export type AuthSessionState =
  | "initiated"
  | "awaiting_user"
  | "completing"
  | "linked"
  | "failed"
  | "expired"
  | "cancelled";

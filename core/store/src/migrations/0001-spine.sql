-- Everything the first slice keeps. Inbox keys are kept for good and spread by hash; bodies and histories
-- are split by month and go away by dropping a month.

CREATE TABLE namespace (
  name        text PRIMARY KEY,
  generation  integer NOT NULL,
  partitions  integer NOT NULL CHECK (partitions BETWEEN 1 AND 99)
);

CREATE TABLE key_records (
  kid         text PRIMARY KEY,
  record      jsonb NOT NULL,
  created_at  timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE enrolments (
  token_hash  bytea PRIMARY KEY,
  issuers     text[] NOT NULL,
  services    text[] NOT NULL,
  workspaces  text[] NOT NULL,
  expires_at  timestamptz NOT NULL,
  used_at     timestamptz
);

CREATE TABLE api_tokens (
  token_hash   bytea PRIMARY KEY,
  name         text NOT NULL,
  workspace_id text NOT NULL,
  role         text NOT NULL CHECK (role IN ('owner', 'admin', 'operator', 'auditor', 'backend')),
  created_at   timestamptz NOT NULL DEFAULT now(),
  revoked_at   timestamptz
);

CREATE TABLE instance_leases (
  service     text NOT NULL,
  instance    text NOT NULL,
  holder      text NOT NULL,
  kid         text NOT NULL,
  epoch       bigint NOT NULL,
  expires_at  timestamptz NOT NULL,
  PRIMARY KEY (service, instance)
);

CREATE TABLE connector_flags (
  workspace_id text NOT NULL,
  service      text NOT NULL,
  enabled      boolean NOT NULL,
  who          text NOT NULL,
  why          text NOT NULL,
  changed_at   timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (workspace_id, service)
);

-- Msgr's bridge accounts: a user's identity on a platform, and where it is served.
CREATE TABLE identities (
  id            text PRIMARY KEY,
  workspace_id  text NOT NULL,
  user_id       text NOT NULL,
  service       text NOT NULL,
  home          text NOT NULL,
  instance      text NOT NULL,
  remote        text,
  name          text,
  state         text NOT NULL CHECK (state IN ('pending', 'linked', 'unlinked')),
  settings      jsonb NOT NULL,
  bridge_state  text NOT NULL DEFAULT 'unconfigured',
  bridge_detail jsonb NOT NULL DEFAULT '{}',
  capabilities  jsonb NOT NULL DEFAULT '{}',
  created_at    timestamptz NOT NULL DEFAULT now(),
  updated_at    timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX identities_by_instance ON identities (service, instance) WHERE state <> 'unlinked';
CREATE INDEX identities_by_user ON identities (workspace_id, user_id);

CREATE TABLE auth_sessions (
  id            text PRIMARY KEY,
  workspace_id  text NOT NULL,
  user_id       text NOT NULL,
  service       text NOT NULL,
  identity_id   text NOT NULL REFERENCES identities (id),
  state         text NOT NULL CHECK (state IN ('initiated', 'awaiting_user', 'completing', 'linked', 'failed', 'expired', 'cancelled')),
  step          jsonb NOT NULL DEFAULT '{}',
  created_at    timestamptz NOT NULL DEFAULT now(),
  expires_at    timestamptz NOT NULL
);

CREATE TABLE contacts (
  workspace_id text NOT NULL,
  identity_id  text NOT NULL,
  ref          text NOT NULL,
  kind         text NOT NULL CHECK (kind IN ('contact', 'channel')),
  name         text NOT NULL,
  updated_at   timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (workspace_id, identity_id, ref)
);

-- One reading account per conversation: what others see of it is stored, not fanned out again.
CREATE TABLE conversations (
  workspace_id text NOT NULL,
  ref          text NOT NULL,
  service      text NOT NULL,
  reader       text NOT NULL,
  created_at   timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (workspace_id, ref)
);

CREATE TABLE checkpoints (
  account     text PRIMARY KEY,
  cursor      jsonb NOT NULL,
  epoch       bigint NOT NULL,
  updated_at  timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE inbox_keys (
  message_id   bytea NOT NULL,
  workspace_id text NOT NULL,
  content      bytea NOT NULL,
  PRIMARY KEY (message_id, workspace_id)
) PARTITION BY HASH (message_id);
DO $$ BEGIN
  FOR i IN 0..7 LOOP
    EXECUTE format('CREATE TABLE inbox_keys_%s PARTITION OF inbox_keys FOR VALUES WITH (MODULUS 8, REMAINDER %s)', i, i);
  END LOOP;
END $$;

-- The event log. `xid` orders commits: rows below the oldest running transaction are final, which is how
-- the sequencer gives positions without a lock in this, the hot transaction.
CREATE SEQUENCE event_ids CACHE 1;
CREATE TABLE events (
  received_at  timestamptz NOT NULL,
  id           bigint NOT NULL DEFAULT nextval('event_ids'),
  xid          xid8 NOT NULL DEFAULT pg_current_xact_id(),
  workspace_id text NOT NULL,
  message_id   bytea NOT NULL,
  leaf         bytea NOT NULL,
  service      text NOT NULL,
  account      text NOT NULL,
  conversation text,
  fan_out      boolean NOT NULL,
  kid          text,
  sig          text,
  body         bytea NOT NULL
) PARTITION BY RANGE (received_at);
CREATE INDEX events_in_commit_order ON events (xid, id);

CREATE TABLE event_positions (
  position     bigint PRIMARY KEY,
  workspace_id text NOT NULL,
  event_id     bigint NOT NULL,
  received_at  timestamptz NOT NULL,
  xid          xid8 NOT NULL
);
CREATE INDEX event_positions_by_workspace ON event_positions (workspace_id, position);

CREATE TABLE sequencer (
  only_one    boolean PRIMARY KEY DEFAULT true CHECK (only_one),
  position    bigint NOT NULL,
  xid         xid8 NOT NULL,
  event_id    bigint NOT NULL,
  received_at timestamptz NOT NULL
);
INSERT INTO sequencer VALUES (true, 0, '0', 0, '-infinity');

CREATE SEQUENCE intent_ordinals;
CREATE TABLE intents (
  id              text PRIMARY KEY,
  ordinal         bigint NOT NULL DEFAULT nextval('intent_ordinals'),
  workspace_id    text NOT NULL,
  user_id         text NOT NULL,
  identity_id     text NOT NULL REFERENCES identities (id),
  service         text NOT NULL,
  action          text NOT NULL,
  conversation    text,
  payload         jsonb NOT NULL,
  content         bytea NOT NULL,
  idempotency_key text NOT NULL,
  trace_id        text NOT NULL,
  state           text NOT NULL,
  code            text,
  detail          text,
  attempt         integer NOT NULL DEFAULT 0,
  part            integer NOT NULL DEFAULT 0,
  parts           integer,
  remote_ids      text[] NOT NULL DEFAULT '{}',
  decision        jsonb NOT NULL DEFAULT '{}',
  ask_id          text,
  ask_epoch       bigint,
  go_until        timestamptz,
  created_at      timestamptz NOT NULL DEFAULT now(),
  updated_at      timestamptz NOT NULL DEFAULT now(),
  expires_at      timestamptz
);
CREATE INDEX intents_by_workspace ON intents (workspace_id, ordinal);
CREATE INDEX intents_expiring ON intents (expires_at) WHERE state IN ('recorded', 'held', 'queued') AND expires_at IS NOT NULL;

CREATE TABLE intent_steps (
  at         timestamptz NOT NULL DEFAULT clock_timestamp(),
  intent_id  text NOT NULL,
  state      text NOT NULL,
  attempt    integer NOT NULL,
  part       integer,
  code       text,
  detail     text
) PARTITION BY RANGE (at);
CREATE INDEX intent_steps_by_intent ON intent_steps (intent_id, at);

-- Intents whose turn may come. One lane is one conversation of one identity; its lowest ordinal is its head.
CREATE TABLE outbox (
  intent_id       text PRIMARY KEY REFERENCES intents (id),
  service         text NOT NULL,
  instance        text NOT NULL,
  identity_id     text NOT NULL,
  lane            text NOT NULL,
  ordinal         bigint NOT NULL,
  due_at          timestamptz NOT NULL DEFAULT now(),
  published_at    timestamptz,
  published_epoch bigint
);
CREATE INDEX outbox_lanes ON outbox (identity_id, lane, ordinal);
CREATE INDEX outbox_due ON outbox (service, instance, due_at) WHERE published_at IS NULL;

CREATE TABLE quarantine (
  id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at           timestamptz NOT NULL DEFAULT now(),
  code         text NOT NULL,
  detail       text NOT NULL,
  routing_key  text NOT NULL,
  issuer       text,
  workspace_id text,
  message_id   text,
  kid          text,
  sig          text,
  body         bytea NOT NULL,
  body_hash    bytea NOT NULL,
  seen         integer NOT NULL DEFAULT 1,
  state        text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'retried', 'dropped')),
  UNIQUE (body_hash, code, routing_key)
);

CREATE TABLE audit_entries (
  at           timestamptz NOT NULL DEFAULT clock_timestamp(),
  id           bigint GENERATED ALWAYS AS IDENTITY,
  workspace_id text NOT NULL,
  actor        text NOT NULL,
  action       text NOT NULL,
  subject      text NOT NULL,
  detail       jsonb NOT NULL DEFAULT '{}'
) PARTITION BY RANGE (at);
CREATE INDEX audit_entries_by_workspace ON audit_entries (workspace_id, at);
CREATE INDEX audit_entries_by_subject ON audit_entries (subject, at);

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'audit entries are append-only';
END $$;
CREATE TRIGGER audit_entries_append_only BEFORE UPDATE OR DELETE ON audit_entries
  FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER audit_entries_keep BEFORE TRUNCATE ON audit_entries
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

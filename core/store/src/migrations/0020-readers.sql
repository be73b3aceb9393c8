-- A reported connection state is ordered by the epoch of the lease under which it was reported.
ALTER TABLE identities ADD COLUMN bridge_epoch bigint NOT NULL DEFAULT 0;

-- Whose words they are, where the sender is a linked identity of the same workspace.
ALTER TABLE events ADD COLUMN sender_identity text;

-- shared: more than one account sees it. stable_kinds: kinds of events whose remote ids are the same for all accounts.
ALTER TABLE conversations ADD COLUMN shared boolean NOT NULL DEFAULT false;
ALTER TABLE conversations ADD COLUMN stable_kinds text[] NOT NULL DEFAULT '{}';

-- Accounts that left a conversation or were removed from it; coming back deletes the row.
CREATE TABLE conversation_absences (
  workspace_id text NOT NULL,
  ref          text NOT NULL,
  account      text NOT NULL,
  since        timestamptz NOT NULL,
  PRIMARY KEY (workspace_id, ref, account)
);

-- How a linked identity is named as a sender on its platform, as its own events told last.
CREATE TABLE identity_refs (
  account      text PRIMARY KEY,
  workspace_id text NOT NULL,
  ref          text NOT NULL
);
CREATE INDEX identity_refs_by_ref ON identity_refs (workspace_id, ref);

-- Events of shared conversations: one row per event of the platform, with the accounts whose copies came. `exact` is
-- the content hash, equal where remote ids are; `loose` leaves the remote id out. A copy that the reader has not
-- delivered is held until `release_at`; the event_ columns say where it lies.
CREATE TABLE shared_events (
  id                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  conversation      bytea NOT NULL,
  exact             bytea NOT NULL,
  loose             bytea NOT NULL,
  sent_at           timestamptz NOT NULL,
  seen_by           text[] NOT NULL,
  fanned_out        boolean NOT NULL,
  release_at        timestamptz,
  event_id          bigint,
  event_xid         xid8,
  event_received_at timestamptz,
  created_at        timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX shared_events_by_content ON shared_events (exact);
CREATE INDEX shared_events_by_likeness ON shared_events (loose, sent_at);
CREATE INDEX shared_events_by_age ON shared_events (created_at);
CREATE INDEX shared_events_held ON shared_events (release_at) WHERE release_at IS NOT NULL;
CREATE INDEX shared_events_held_in ON shared_events (conversation, id) WHERE release_at IS NOT NULL;

-- Indexes for what is swept, listed or ended by something else than its key.

-- Rows lie in the order of their making, so a few bytes per block of pages are enough to find the old ones.
CREATE INDEX intents_by_age ON intents USING brin (created_at) WITH (pages_per_range = 32, autosummarize = on);
-- Unlinking an account ends what is not settled of it.
CREATE INDEX intents_unsettled ON intents (identity_id) WHERE state IN ('recorded', 'held', 'queued', 'attempting');

CREATE INDEX quarantine_by_age ON quarantine (at);
CREATE INDEX quarantine_by_workspace ON quarantine (workspace_id, id);
CREATE INDEX quarantine_by_state ON quarantine (state, id);

CREATE INDEX auth_sessions_open ON auth_sessions (expires_at)
  WHERE state IN ('initiated', 'awaiting_user', 'completing');
CREATE INDEX auth_sessions_ended ON auth_sessions (changed_at)
  WHERE state IN ('linked', 'failed', 'expired', 'cancelled');
CREATE INDEX auth_sessions_by_identity ON auth_sessions (identity_id);

CREATE INDEX identities_pending ON identities (updated_at) WHERE state = 'pending';
CREATE INDEX identities_unlinked ON identities (updated_at) WHERE state = 'unlinked';
CREATE INDEX enrolments_by_expiry ON enrolments (expires_at);

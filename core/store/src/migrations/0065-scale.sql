-- What a hundred times the data needs.

-- Grows with each change of a key, in the order of commits, because its row is locked last and until the commit. A
-- time would not do: of two changes, the one that is committed later may carry the earlier time.
CREATE TABLE key_changes (
  only_one  boolean PRIMARY KEY DEFAULT true CHECK (only_one),
  version   bigint NOT NULL
);
INSERT INTO key_changes VALUES (true, 1);
CREATE FUNCTION count_key_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  UPDATE key_changes SET version = version + 1;
  RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER key_records_changed AFTER INSERT OR UPDATE OR DELETE ON key_records
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION count_key_change();

-- A list of a workspace's accounts is walked page by page in this order.
CREATE INDEX identities_by_age ON identities (workspace_id, created_at, id) WHERE state <> 'unlinked';

-- Every change of an account sets `updated_at`. As a column of an index it made every change write all indexes.
ALTER TABLE identities ADD COLUMN unlinked_at timestamptz;
UPDATE identities SET unlinked_at = updated_at WHERE state = 'unlinked';
DROP INDEX identities_unlinked;
CREATE INDEX identities_unlinked ON identities (unlinked_at) WHERE state = 'unlinked';
DROP INDEX identities_pending;
CREATE INDEX identities_pending ON identities (id) WHERE state = 'pending';
DROP INDEX identities_credential_to_drop;
CREATE INDEX identities_credential_to_drop ON identities (unlinked_at) WHERE credential_to_drop;
-- Room for such changes beside the row.
ALTER TABLE identities SET (fillfactor = 85);
ALTER TABLE checkpoints SET (fillfactor = 80);

-- Intents are listed by each of their states. This one may be large: it can be made before the upgrade (docs/performance.md).
CREATE INDEX IF NOT EXISTS intents_in_state ON intents (workspace_id, state, ordinal);
DROP INDEX intents_by_state;
-- Unlinking reads `intents_waiting`: it knows the workspace.
DROP INDEX intents_unsettled;

CREATE INDEX api_tokens_by_workspace ON api_tokens (workspace_id, created_at) WHERE revoked_at IS NULL;
CREATE INDEX quarantine_by_code ON quarantine (code, id);

-- When a key record last changed, so that every process can see by one look whether it must read them again.
ALTER TABLE key_records ADD COLUMN changed_at timestamptz NOT NULL DEFAULT now();

-- An enrolment may replace a key: the old one ends so long after the new one is registered.
ALTER TABLE enrolments ADD COLUMN replaces text REFERENCES key_records (kid);
ALTER TABLE enrolments ADD COLUMN grace_s integer NOT NULL DEFAULT 0 CHECK (grace_s >= 0);

-- What was refused, counted by the minute, so that a flood of refusals is a row and not a full disk.
CREATE TABLE refusals (
  minute       timestamptz NOT NULL,
  kind         text NOT NULL,
  workspace_id text NOT NULL,
  subject      text NOT NULL,
  code         text NOT NULL,
  count        bigint NOT NULL,
  PRIMARY KEY (minute, kind, workspace_id, subject, code)
);
CREATE INDEX refusals_by_workspace ON refusals (workspace_id, minute);

-- How many intents of a workspace, and of one identity in it, wait to be settled.
CREATE INDEX intents_waiting ON intents (workspace_id, identity_id)
  WHERE state IN ('recorded', 'held', 'queued', 'attempting');

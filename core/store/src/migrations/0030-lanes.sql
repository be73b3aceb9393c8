-- The head of each lane is a row, so that the pump finds what is due without looking at what waits.
--
-- A lane is one conversation of one identity; its head is its oldest unsettled intent, the only one that may be
-- out. A head is in one of three states:
--   waiting  published_at is null, not parked: to be published once due_at has passed
--   out      published_at is set: at the daemon; due_at is when silence makes it overdue
--   parked   its identity has as many heads out as its credit allows: looked at again when one of them ends
CREATE TABLE lanes (
  identity_id     text NOT NULL,
  lane            text NOT NULL,
  service         text NOT NULL,
  instance        text NOT NULL,
  -- In the outbox, too, which refers to intents. No reference here: its check would lock the next intent of the lane.
  intent_id       text NOT NULL,
  -- Size of the head's payload, for bounds on memory.
  bytes           integer NOT NULL,
  due_at          timestamptz NOT NULL DEFAULT now(),
  published_at    timestamptz,
  published_epoch bigint,
  parked          boolean NOT NULL DEFAULT false,
  PRIMARY KEY (identity_id, lane),
  CHECK ((published_at IS NULL) = (published_epoch IS NULL)),
  CHECK (NOT (parked AND published_at IS NOT NULL))
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.05);

ALTER TABLE outbox ADD COLUMN bytes integer;
UPDATE outbox o SET bytes = octet_length(i.payload::text) FROM intents i WHERE i.id = o.intent_id;
ALTER TABLE outbox ALTER COLUMN bytes SET NOT NULL;

INSERT INTO lanes (identity_id, lane, service, instance, intent_id, bytes, due_at, published_at, published_epoch)
SELECT DISTINCT ON (identity_id, lane) identity_id, lane, service, instance, intent_id, bytes, due_at, published_at,
       CASE WHEN published_at IS NOT NULL THEN coalesce(published_epoch, 0) END
  FROM outbox ORDER BY identity_id, lane, ordinal;

CREATE INDEX lanes_due ON lanes (service, instance, due_at) WHERE NOT parked;
CREATE INDEX lanes_out_by_epoch ON lanes (service, instance, published_epoch) WHERE published_at IS NOT NULL;
CREATE INDEX lanes_out_by_identity ON lanes (identity_id) WHERE published_at IS NOT NULL;
CREATE INDEX lanes_parked ON lanes (identity_id, due_at) WHERE parked;

-- Due times live in lanes now. An intent's place in its lane is given while the lane is locked, so places follow commits.
DROP INDEX outbox_due;
ALTER TABLE outbox
  DROP COLUMN due_at, DROP COLUMN published_at, DROP COLUMN published_epoch,
  ALTER COLUMN ordinal SET DEFAULT nextval('intent_ordinals');

-- Sweeping and listing by state, without reading what is settled.
CREATE INDEX intents_by_state ON intents (workspace_id, state, ordinal) WHERE state NOT IN ('sent', 'delivered', 'read');
DROP INDEX intents_expiring;
CREATE INDEX intents_expiring ON intents (expires_at, id)
  WHERE state IN ('recorded', 'held', 'queued', 'attempting') AND expires_at IS NOT NULL;

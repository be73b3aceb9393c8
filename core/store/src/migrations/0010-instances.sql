-- What the daemon of an instance announced of itself, and how it says that it does.
CREATE TABLE instances (
  service       text NOT NULL,
  instance      text NOT NULL,
  declaration   jsonb,
  announced_at  timestamptz,
  health        text CHECK (health IN ('ok', 'degraded', 'down')),
  health_code   text,
  health_detail text,
  health_at     timestamptz,
  PRIMARY KEY (service, instance)
);

-- `resume` walks an instance's identities page by page.
CREATE INDEX identities_by_page ON identities (service, instance, id) WHERE state = 'linked';

-- A lease has two ends: `expires_at` for writing, `stay_until` for staying on the platform. Others who asked for it and
-- were answered without a pause since `heard_since` show that the holder could have been heard, too.
ALTER TABLE instance_leases ADD COLUMN stay_until timestamptz NOT NULL DEFAULT '-infinity';
ALTER TABLE instance_leases ADD COLUMN heard_since timestamptz;
ALTER TABLE instance_leases ADD COLUMN heard_at timestamptz;

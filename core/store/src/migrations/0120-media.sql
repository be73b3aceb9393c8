-- A row per stored object of media, from before its first byte is written until after its last one is deleted: no
-- object exists that no row knows, and none is served that is not whole.
CREATE TABLE media (
  object       text PRIMARY KEY,
  workspace_id text NOT NULL,
  -- Version of the workspace's data key under which it is sealed.
  key_version  integer NOT NULL,
  state        text NOT NULL CHECK (state IN ('writing', 'stored', 'deleting')),
  sha256       bytea CHECK (octet_length(sha256) = 32),
  bytes        bigint,
  mime         text,
  name         text,
  created_at   timestamptz NOT NULL DEFAULT now(),
  -- writing: when bytes last came; stored: when it was last uploaded.
  used_at      timestamptz NOT NULL DEFAULT now(),
  CHECK (state <> 'stored' OR (sha256 IS NOT NULL AND bytes IS NOT NULL AND mime IS NOT NULL AND name IS NOT NULL))
);
CREATE UNIQUE INDEX media_by_hash ON media (workspace_id, sha256) WHERE state = 'stored';
CREATE INDEX media_by_use ON media (state, used_at) WHERE state IN ('writing', 'stored');
CREATE INDEX media_deleting ON media (object) WHERE state = 'deleting';

-- What the objects of a workspace sum up to. Its row is locked before those of its media.
CREATE TABLE media_usage (
  workspace_id text PRIMARY KEY,
  bytes        bigint NOT NULL CHECK (bytes >= 0),
  objects      bigint NOT NULL CHECK (objects >= 0)
);
ALTER TABLE media_usage SET (fillfactor = 50);

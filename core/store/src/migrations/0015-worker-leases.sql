-- Core workers and the partitions that each of them takes in. A partition whose owner has no live lease is free.

CREATE TABLE worker_leases (
  namespace   text NOT NULL REFERENCES namespace (name),
  worker      text NOT NULL,
  epoch       bigint NOT NULL,
  expires_at  timestamptz NOT NULL,
  PRIMARY KEY (namespace, worker)
);

CREATE TABLE partition_owners (
  namespace   text NOT NULL REFERENCES namespace (name),
  partition   integer NOT NULL CHECK (partition >= 0),
  owner       text,
  PRIMARY KEY (namespace, partition)
);

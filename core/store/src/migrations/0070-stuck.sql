-- Messages that a core process tries again and again, alone, and which of them an operator gave up.
CREATE TABLE stuck_messages (
  namespace    text NOT NULL REFERENCES namespace (name),
  queue        text NOT NULL,
  message_id   text NOT NULL,
  worker       text NOT NULL,
  failures     integer NOT NULL,
  since        timestamptz NOT NULL,
  code         text NOT NULL,
  seen_at      timestamptz NOT NULL DEFAULT now(),
  given_up_by  text,
  PRIMARY KEY (namespace, queue, message_id)
);

-- An event that came in a batch of history has no signature of its own: this is the message id of the batch that has.
ALTER TABLE events ADD COLUMN batch_id bytea;

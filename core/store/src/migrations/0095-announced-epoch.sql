-- Under which epoch of its lease an instance's daemon announced itself. The next holder may be of another version, and
-- gets intents before its own announcement is stored.
ALTER TABLE instances ADD COLUMN announced_epoch bigint;

-- The credential of an unlinked identity is dropped after the commit that unlinks it. The mark stays until it is known
-- to be gone, so that a process that ends in between leaves no secret behind.
ALTER TABLE identities ADD COLUMN credential_to_drop boolean NOT NULL DEFAULT false;
UPDATE identities SET credential_to_drop = true WHERE state = 'unlinked';
CREATE INDEX identities_credential_to_drop ON identities (updated_at) WHERE credential_to_drop;

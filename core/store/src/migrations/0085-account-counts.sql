-- How many accounts and open links a workspace has is counted whenever one is opened.
CREATE INDEX identities_in_use ON identities (workspace_id, state) WHERE state <> 'unlinked';

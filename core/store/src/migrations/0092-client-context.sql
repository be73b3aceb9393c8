-- What a backend's client said of itself when it opened a link session; its connector is told.
ALTER TABLE auth_sessions ADD COLUMN client_context jsonb NOT NULL DEFAULT '{}';

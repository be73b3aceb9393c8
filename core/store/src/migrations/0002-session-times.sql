-- Clients of link sessions show when a session entered its state.
ALTER TABLE auth_sessions ADD COLUMN changed_at timestamptz NOT NULL DEFAULT now();
